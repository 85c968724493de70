"""Encoder and decoder layers, and where they do not hold by one detail."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.texts import Text, dense, every, kinds, layer_norm

DIM, TOKENS, QUERIES = 8, 4, 3
IMAGE = f"float[2,{TOKENS},{DIM}]"
HEADS = {"apart": [2, -1, 2, 4], "together": [2, -1, DIM], "scale": np.float32(0.5)}


def attention(query: str, value: str, key: str, y: str) -> Text:
    """Two heads of 4 channels."""
    parts = {"q": (query, "[0,2,1,3]"), "k": (key, "[0,2,3,1]"), "v": (value, "[0,2,1,3]")}
    text = Text("", dict(HEADS))
    for name, (source, perm) in parts.items():
        at = f"{y}_{name}"
        text += dense(source, f"{at}d")
        text += Text(f"{at}r = Reshape({at}d, apart)  {at} = Transpose<perm={perm}>({at}r)\n")
    text += Text(
        f"{y}_s = MatMul({y}_q, {y}_k)  {y}_c = Mul({y}_s, scale)\n"
        f"{y}_p = Softmax<axis=-1>({y}_c)  {y}_o = MatMul({y}_p, {y}_v)\n"
        f"{y}_t = Transpose<perm=[0,2,1,3]>({y}_o)\n"
        f"{y}_j = Reshape({y}_t, together)\n"
    )
    return text + dense(f"{y}_j", y)


def added(x: str, branch: str, y: str) -> Text:
    return Text(f"{y}_a = Add({x}, {branch})\n") + layer_norm(f"{y}_a", y)


def fed(x: str, y: str) -> Text:
    hidden = dense(x, f"{y}_1", 16) + Text(f"{y}_2 = Relu({y}_1)\n")
    return hidden + dense(f"{y}_2", f"{y}_3", DIM, 16) + added(x, f"{y}_3", y)


def placed(x: str, y: str, tokens: int = TOKENS) -> Text:
    return Text(f"{y} = Add({x}, {y}_table)\n", {f"{y}_table": (1, tokens, DIM)})


ENCODER = attention("x", "x", "x", "at") + added("x", "at", "n") + fed("n", "y")
WITH_POSITIONS = placed("x", "q") + attention("q", "x", "q", "at") + added("x", "at", "n")
WITH_POSITIONS += fed("n", "y")
DECODER = (
    Text("t = Slice(x, zero, three, one)\n", {"zero": [0], "three": [QUERIES], "one": [1]})
    + placed("t", "p", QUERIES)
    + attention("p", "t", "p", "own")
    + added("t", "own", "s")
    + placed("s", "q", QUERIES)
    + placed("x", "keys")
    + attention("q", "x", "keys", "cross")
    + added("s", "cross", "c")
    + fed("c", "y")
)


@pytest.mark.parametrize(
    ("text", "positions"), [(ENCODER, None), (WITH_POSITIONS, TOKENS)], ids=["plain", "positions"]
)
def test_an_encoder_layer(text: Text, positions: int | None, tmp_path: Path) -> None:
    network = text.lifted(tmp_path, image=IMAGE)
    assert not network.unrecognised
    (block,) = network.blocks
    assert block.kind == "TransformerEncoderLayer"
    assert block.params.get("num_positions") == positions
    assert {"num_heads": 2, "mlp_ratio": 2, "activation": "relu"}.items() <= block.params.items()


def test_a_decoder_layer(tmp_path: Path) -> None:
    network = DECODER.lifted(tmp_path, image=IMAGE)
    (block,) = every(network, "TransformerDecoderLayer")
    assert block.params["num_positions"] == QUERIES
    assert [(value.shape or ())[1] for value in block.operands] == [QUERIES, TOKENS, TOKENS]
    assert "self_attention" not in block.params


def test_the_first_of_detr_has_no_attention_to_itself(tmp_path: Path) -> None:
    text = DECODER.but("s_a = Add(t, own)", "s_a = Add(t, t)")
    (block,) = every(text.lifted(tmp_path, image=IMAGE), "TransformerDecoderLayer")
    assert block.params["self_attention"] is False


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (ENCODER.but("n_a = Add(x, at)", "n_a = Add(at, at)"), "TransformerEncoderLayer"),
        (ENCODER.but("y_a = Add(n, y_3)", "y_a = Add(x, y_3)"), "TransformerEncoderLayer"),
        (ENCODER.but("y_2 = Relu(y_1)", "y_2 = Neg(y_1)"), "TransformerEncoderLayer"),
        (placed("x", "q") + attention("q", "x", "x", "at") + added("x", "at", "n") + fed("n", "y"),
         "TransformerEncoderLayer"),
        (DECODER.but("c_a = Add(s, cross)", "c_a = Add(t, cross)"), "TransformerDecoderLayer"),
        (DECODER.but("s_a = Add(t, own)", "s_a = Add(p, own)"), "TransformerDecoderLayer"),
    ],
    ids=["no sum", "other sum", "no activation", "other keys", "around both", "positions remain"],
)  # fmt: skip
def test_near_misses(text: Text, kind: str, tmp_path: Path) -> None:
    found = every(text.lifted(tmp_path, image=IMAGE), kind)
    if kind == "TransformerDecoderLayer":  # without its attention to itself it may still hold
        found = [block for block in found if "self_attention" not in block.params]
    assert not found


BOX = (
    dense("x", "a", DIM) + Text("b = Relu(a)\n") + dense("b", "c") + Text("d = Relu(c)\n")
    + dense("d", "e", 4) + Text("y = Sigmoid(e)\n")
)  # fmt: skip


def test_a_predictor_of_boxes(tmp_path: Path) -> None:
    network = BOX.lifted(tmp_path, image=IMAGE)
    assert [block.kind for block in network.blocks] == ["BoxPredictor"]
    assert network.blocks[0].params == {"dim": DIM}


@pytest.mark.parametrize(
    "text", [BOX.but("y = Sigmoid(e)", "y = Tanh(e)"), BOX.but("b = Relu(a)", "b = Tanh(a)"),
             BOX.having(e_w=(DIM, 5), e_b=(5,))],
)  # fmt: skip
def test_what_predicts_no_boxes(text: Text, tmp_path: Path) -> None:
    assert "BoxPredictor" not in kinds(text.lifted(tmp_path, image=IMAGE))
