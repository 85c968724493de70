"""Attention and the transformer layer, and what looks like them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.texts import (
    DIM,
    HEADS,
    TOKENS,
    Text,
    attention,
    dense,
    every,
    kinds,
    layer_norm,
    only,
    silu,
    transformer,
)

PIXELS = f"float[{TOKENS[0]},1,{TOKENS[1]},{TOKENS[2]}]"
TOKEN = Text("t = Reshape(x, tokens)\n", {"tokens": TOKENS})
ATTENTION = TOKEN + attention("t", "y")
LAYER = TOKEN + transformer("t", "y")
HEAD = DIM // HEADS


@pytest.mark.parametrize(
    "text",
    [
        ATTENTION,
        ATTENTION.but("Div(scores, root)", "Mul(scores, scale)", scale=HEAD**-0.5),
        ATTENTION.but("Div(scores, root)", "Mul(scale, scores)", scale=HEAD**-0.5),
        ATTENTION.but("Div(scores, root)", "Div(scores, root2)", root2=HEAD**0.5 * (1 + 5e-6)),
        ATTENTION.but("<axis=-1>(scaled)", "<axis=3>(scaled)"),
        ATTENTION.but(
            "k2 = Transpose<perm=[0,2,3,1]>(k1)",
            "k3 = Transpose<perm=[0,2,1,3]>(k1)  k2 = Transpose<perm=[0,1,3,2]>(k3)",
        ),
    ],
    ids=["divided", "scaled", "scale first", "tolerance", "last axis", "k transposed twice"],
)
def test_attention(tmp_path: Path, text: Text) -> None:
    network = text.lifted(tmp_path, image=PIXELS)
    block = only(network, "MultiHeadAttention")
    assert block.params == {"num_heads": HEADS, "key_dim": HEAD, "use_bias": True}
    assert [node.op for node in network.unrecognised] == ["Reshape"]


def test_attention_without_biases(tmp_path: Path) -> None:
    text = ATTENTION
    for name in ("q", "k", "v", "y"):
        text = text.but(f"{name}_m = ", f"{name} = ").but(f"{name} = Add({name}_b, {name}_m)", "")
    network = text.lifted(tmp_path, image=PIXELS)
    assert only(network, "MultiHeadAttention").use_bias is False


def test_attention_whose_query_and_value_share_a_bias(tmp_path: Path) -> None:
    network = ATTENTION.but("Add(v_b,", "Add(q_b,").lifted(tmp_path, image=PIXELS)
    weights = only(network, "MultiHeadAttention").weights
    assert (weights["query/bias"] == weights["value/bias"]).all()
    assert (weights["query/bias"] != weights["key/bias"]).any()


def test_attention_whose_query_and_key_are_one_layer(tmp_path: Path) -> None:
    network = ATTENTION.but("Reshape(k, split)", "Reshape(q, split)").lifted(tmp_path, image=PIXELS)
    weights = only(network, "MultiHeadAttention").weights
    assert (weights["query/kernel"] == weights["key/kernel"]).all()
    assert network.coverage.nodes == len({node for b in network.blocks for node in b.onnx_nodes()}
                                         ) + len(network.refused)  # fmt: skip


def scale(number: float) -> Text:
    return ATTENTION.but("Div(scores, root)", "Mul(scores, scale)", scale=number)


AS_DIM_HEADS: dict[str, Any] = {"split": [*TOKENS[:2], HEAD, HEADS]}
OTHER_SPLIT = (
    ATTENTION.but("q2 = Transpose<perm=[0,2,1,3]>", "q2 = Transpose<perm=[0,3,1,2]>")
    .but("k2 = Transpose<perm=[0,2,3,1]>", "k2 = Transpose<perm=[0,3,2,1]>")
    .but("v2 = Transpose<perm=[0,2,1,3]>", "v2 = Transpose<perm=[0,3,1,2]>", **AS_DIM_HEADS)
)
SHAPE = f"{HEAD} heads of {HEADS}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (scale(DIM**-0.5), "the scale is 0.353553, not 1/sqrt(4) = 0.5"),
        (scale(0.5 * (1 + 2e-5)), "the scale is 0.50001, not 1/sqrt(4) = 0.5"),
        (scale(-0.5), "the scale is -0.5, not 1/sqrt(4) = 0.5"),
        (ATTENTION.but("scaled = Div(scores, root)", "scaled = Add(scores, root)"),
         "Mul expected, found <Add>"),
        (ATTENTION.but("scaled = Div(scores, root)", "scaled = Mul(scores, mask)",
                       mask=(TOKENS[1], TOKENS[1])), "scale is not a constant with one element"),
        (OTHER_SPLIT, "its axes are not moved as in 'b t (h k) -> b h t k'"),
        # In the other order, with the usual permutations, it has other heads.
        (ATTENTION.having(**AS_DIM_HEADS), "the scale is 0.5, not 1/sqrt(2)"),
        (ATTENTION.but("[0,2,3,1]>(k1)", "[0,2,1,3]>(k1)"),
         "its axes are not moved as in 'b t (h k) -> b h k t'"),
        (ATTENTION.but("Softmax<axis=-1>", "Softmax<axis=2>"), "Softmax: axis is 2, not -1"),
        (ATTENTION.but("Softmax<axis=-1>", "Softmax<axis=1>"), "Softmax: axis is 1, not -1"),
        (ATTENTION.but("MatMul(q2, k2)", "MatMul(k2, q2)"),
         "its axes are not moved as in 'b t (h k) -> b h t k'"),
        (ATTENTION.but("MatMul(share, v2)", "MatMul(v2, share)"), "Softmax expected"),
        (ATTENTION.but("[0,2,1,3]>(mixed)", "[0,2,3,1]>(mixed)"),
         "its axes are not moved as in 'b h t k -> b t (h k)'"),
    ],
)  # fmt: skip
def test_no_attention_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    assert kinds(text.lifted(tmp_path, image=PIXELS)) == {"Dense"}
    assert text.reason(tmp_path, "MultiHeadAttention", image=PIXELS).startswith(reason)


MASK = {"mask": np.triu(np.full((TOKENS[1],) * 2, -np.inf, np.float32), 1)}
MASKED = ATTENTION.but("scaled = Div(scores, root)", "s = Div(scores, root)  scaled = Add(s, mask)")


@pytest.mark.parametrize(
    ("text", "order", "causal"),
    [
        (ATTENTION.but("v_m = MatMul(t,", "z = Sin(t)  v_m = MatMul(z,"), "tzt", False),
        (ATTENTION.but("q_m = MatMul(t,", "z = Sin(t)  q_m = MatMul(z,"), "ztt", False),
        (ATTENTION.but("k_m = MatMul(t,", "z = Sin(t)  k_m = MatMul(z,"), "ttz", False),
        (MASKED.having(**MASK), "ttt", True),
    ],
    ids=["values", "queries", "keys", "causal"],
)
def test_attention_to_others(tmp_path: Path, text: Text, order: str, causal: bool) -> None:
    network = text.lifted(tmp_path, image=PIXELS)
    assert not every(network, "MultiHeadAttention")
    block = only(network, "Attention")
    expected = {"num_heads": HEADS, "key_dim": HEAD, "use_bias": True, "causal": causal}
    assert block.params == expected
    assert "".join(value.name for value in block.operands) == order
    assert list(block.inputs) == list(dict.fromkeys(block.operands))


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (MASK["mask"].T, "its mask is not causal"),
        (np.where(np.eye(TOKENS[1], dtype=bool), -1, MASK["mask"]), "its mask weighs what it does"),
    ],
)
def test_no_attention_with_another_mask(tmp_path: Path, mask: np.ndarray, reason: str) -> None:
    text = MASKED.having(mask=mask.astype(np.float32))
    assert kinds(text.lifted(tmp_path, image=PIXELS)) == {"Dense"}
    assert text.reason(tmp_path, "Attention", image=PIXELS).startswith(reason)


@pytest.mark.parametrize("inner", ["share", "q", "k2", "joined"])
def test_no_attention_around_an_output_of_the_graph(tmp_path: Path, inner: str) -> None:
    how = {"image": PIXELS, "outputs": f"y {inner}"}
    assert not every(ATTENTION.lifted(tmp_path, **how), "MultiHeadAttention")
    reason = ATTENTION.reason(tmp_path, "MultiHeadAttention", **how)
    assert reason == f"its inner value {inner!r} is an output of the graph"


def test_a_transformer_layer(tmp_path: Path) -> None:
    network = LAYER.lifted(tmp_path, image=PIXELS)
    block = only(network, "TransformerLayer")
    assert block.params == {
        "num_heads": HEADS, "mlp_ratio": 2, "activation": "silu",
        "attention_bias": True, "epsilon": 1e-5,
    }  # fmt: skip
    roles = ["norm_before", "attention", "norm_after", "mlp_in", "act", "mlp_out"]
    assert [child.role for child in block.children] == roles
    assert [node.op for node in network.unrecognised] == ["Reshape"]


SCALED = LAYER.but(
    "middle = Add(attended, t)",
    "scaled_a = Mul(attended, gamma_a)  middle = Add(scaled_a, t)",
    gamma_a=(DIM,),
)


def test_a_transformer_layer_with_layer_scale(tmp_path: Path) -> None:
    text = SCALED.but("Add(out,", "Add(scaled_b,").but(
        "y = Add", "scaled_b = Mul(gamma_b, out)  y = Add", gamma_b=(DIM,)
    )
    block = only(text.lifted(tmp_path, image=PIXELS), "TransformerLayer")
    assert block.params["layer_scale"] is True
    weights = block.child("scale_attention").weights, block.child("scale_mlp").weights
    assert (weights[0]["kernel"] != weights[1]["kernel"]).all()


@pytest.mark.parametrize(
    ("nodes", "gelu"),
    [
        ('act = Gelu<approximate="tanh">(in)', "gelu_tanh"),
        ("act_m = Mul(in, slope)  act_s = Sigmoid(act_m)  act = Mul(in, act_s)", "gelu_sigmoid"),
    ],
)
def test_a_transformer_layer_with_an_approximate_gelu(
    tmp_path: Path, nodes: str, gelu: str
) -> None:
    text = LAYER.but("act_s = Sigmoid(in)  act = Mul(in, act_s)", nodes, slope=1.702)
    block = only(text.lifted(tmp_path, image=PIXELS), "TransformerLayer")
    assert block.activation == gelu


@pytest.mark.parametrize(("units", "ratio"), [(12, 1.5), (32, 4), (4, 0.5), (11, 1.4)])
def test_the_ratio_of_the_layers_inside(tmp_path: Path, units: int, ratio: float) -> None:
    text = LAYER.having(in_w=(DIM, units), in_b=(units,), out_w=(units, DIM))
    assert only(text.lifted(tmp_path, image=PIXELS), "TransformerLayer").mlp_ratio == ratio


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (LAYER.but("middle = Add(attended, t)", "middle = Add(attended, before)"),
         "x is another value than before"),
        (LAYER.but("y = Add(out, middle)", "y = Add(out, t)"), ""),
        (LAYER.but("y = Add(out, middle)", "y = Add(out, after)"), ""),
        (LAYER.but("y = Add(out, middle)", "y = Sub(out, middle)"), ""),
        (LAYER.but("after = LayerNormalization<axis=-1>",
                   "after = LayerNormalization<axis=-1, epsilon=0.001>"),
         "norm_before has epsilon 1e-05, norm_after has 0.001"),
        (LAYER.but("act_s = Sigmoid(in)  act = Mul(in, act_s)", "act = Sin(in)"),
         "act (Activation) expected, found <Sin>"),
        (LAYER.but("in_m = ", "in = ").but("in = Add(in_b, in_m)", ""),
         "mlp_in (Dense): use_bias is False, not True"),
        (SCALED, "one of its branches alone is scaled"),
        (LAYER.but("Div(scores, root)", "Mul(scores, root)"), "attention (MultiHeadAttention) exp"),
    ],
)  # fmt: skip
def test_no_transformer_layer_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    network = text.lifted(tmp_path, image=PIXELS)
    assert not every(network, "TransformerLayer") and network.unrecognised
    assert text.reason(tmp_path, "TransformerLayer", image=PIXELS).startswith(reason)


def test_post_norm_is_no_transformer_layer(tmp_path: Path) -> None:
    text = (
        TOKEN + attention("t", "a") + Text("s = Add(a, t)\n") + layer_norm("s", "n1")
        + dense("n1", "in", 16) + silu("in", "act") + dense("act", "out", DIM, 16)
        + Text("r = Add(out, n1)\n") + layer_norm("r", "y")
    )  # fmt: skip
    network = text.lifted(tmp_path, image=PIXELS)
    assert not every(network, "TransformerLayer")
    assert len(every(network, "MultiHeadAttention")) == 1


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (ATTENTION.having(y_w=(DIM, 12), y_b=(12,)), "MultiHeadAttention"),
        (LAYER.having(out_w=(2 * DIM, 1), out_b=(1,)), "TransformerLayer"),
    ],
)
def test_a_block_with_weights_that_would_not_fit(tmp_path: Path, text: Text, kind: str) -> None:
    assert not every(text.lifted(tmp_path, image=PIXELS), kind)


def test_attention_of_rows_without_a_batch_is_left_alone(tmp_path: Path) -> None:
    flat = Text("t = Reshape(x, flat)\n", {"flat": [TOKENS[0] * TOKENS[1], DIM]})
    network = (flat + attention("t", "y")).lifted(tmp_path, image=PIXELS)
    assert kinds(network) == {"Dense"}
