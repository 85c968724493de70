"""A learned bias on scores: for offsets, for distances, for pairs; and what is none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patterns.score_bias import offset_index
from tests.support.texts import Text, every

HEADS, DIM = 2, 4
RANDOM = np.random.default_rng(0)


def looked_up(rows: int, index: Any) -> Any:
    """(1, heads, N, M): random numbers, the same for pairs that are alike."""
    table = RANDOM.normal(size=(rows, HEADS)).astype("float32")
    return table[index].transpose(2, 0, 1)[None]


def scores(bias: Any, nodes: str = "s = MatMul(x, k)  y = Add(s, bias)\n") -> tuple[Text, str]:
    """Scores of as many queries and keys, and what shape `x` has."""
    *_, queries, keys = bias.shape
    weights = {"k": (2, HEADS, DIM, keys), "bias": bias}
    return Text(nodes, weights), f"float[2,{HEADS},{queries},{DIM}]"


def pairs(*shape: int) -> Any:
    return looked_up(int(np.prod(shape)), np.arange(np.prod(shape)).reshape(shape))


SQUARE, WIDE = (3, 3), (2, 4)
FORMS: list[tuple[Any, dict[str, Any]]] = [
    (looked_up(25, offset_index(SQUARE)), {"grid": SQUARE}),
    (looked_up(21, offset_index(WIDE)), {"grid": WIDE}),
    (looked_up(9, offset_index(SQUARE, absolute=True)), {"grid": SQUARE, "absolute": True}),
    (looked_up(8, offset_index(WIDE, absolute=True)), {"grid": WIDE, "absolute": True}),
    (looked_up(25, offset_index((5, 5), 2, True)),
     {"grid": (5, 5), "stride": 2, "absolute": True}),
    (looked_up(81, offset_index((5, 5), 2)), {"grid": (5, 5), "stride": 2}),
    (pairs(9, 9), {}),
    (pairs(4, 9), {}),
    (pairs(9, 9)[0], {}),
]  # fmt: skip


@pytest.mark.parametrize(("bias", "params"), FORMS)
def test_it_is_read_off_the_constant(tmp_path: Path, bias: Any, params: dict[str, Any]) -> None:
    text, image = scores(bias)
    (block,) = every(text.lifted(tmp_path, image=image), "ScoreBias")
    assert block.params == params
    queries, keys = bias.shape[-2:]
    index = offset_index(**params) if params else np.arange(queries * keys).reshape(queries, keys)
    assert (block.weights["embeddings"][index].transpose(2, 0, 1) == bias).all()


def test_a_bias_that_was_not_trained_yet_is_one(tmp_path: Path) -> None:
    """Its zeros are no mask of nothing: that is the same for all heads."""
    nodes = "s = MatMul(x, k)  t = Add(s, bias)  y = Softmax<axis=-1>(t)\n"
    text, image = scores(np.zeros((1, HEADS, 9, 9), "float32"), nodes)
    assert every(text.lifted(tmp_path, image=image), "ScoreBias")
    text, image = scores(np.zeros((1, 1, 9, 9), "float32"), nodes)
    network = text.lifted(tmp_path, image=image)
    assert [node.op for node in network.graph] == ["MatMul", "Softmax"]


def one_number_off(bias: Any) -> Any:
    bias = bias.copy()
    bias[0, 1, 0, 1] += 1e-3
    return bias


@pytest.mark.parametrize("bias", [bias for bias, params in FORMS if params])
def test_it_is_for_each_pair_where_one_number_is_another(tmp_path: Path, bias: Any) -> None:
    """It is never given out as a bias by offsets or distances."""
    text, image = scores(one_number_off(bias))
    (block,) = every(text.lifted(tmp_path, image=image), "ScoreBias")
    assert block.params == {} and block.weights["embeddings"].shape == (bias[0, 0].size, HEADS)


@pytest.mark.parametrize(
    ("text", "image", "reason"),
    [
        (*scores(pairs(9, 9), "s = Relu(x)  y = Add(s, bias)\n"),
         "it is not added to products of queries and keys"),
        (*scores(pairs(9, 9)[:, :1]), "it is not one for each head and pair"),
        (*scores(np.concatenate([pairs(9, 9), pairs(9, 9)])),
         "it is not alike in all windows, but for a mask"),
    ],
    ids=["no scores", "one for all heads", "another for each image"],
)  # fmt: skip
def test_no_bias_by_one_detail(tmp_path: Path, text: Text, image: str, reason: str) -> None:
    image = image if "Relu" not in text.nodes else f"float[2,{HEADS},9,9]"
    assert text.reason(tmp_path, "ScoreBias", image=image) == reason
    assert not every(text.lifted(tmp_path, image=image), "ScoreBias")
