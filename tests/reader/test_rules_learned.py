"""The rules for what is learned and has no node: layers and attention of constants."""

from typing import Any

import numpy as np
import pytest

from onnx2mvit.reader.rules import unify
from tests.reader.test_rules import only, ops
from tests.support.graphs import model
from tests.support.run_graph import assert_same_answers, plain

# Read by tests.support.rules_table.
COVERS = {"LayerOfParameter", "ConstantScores", "JoinedConstants", "TokensAround"}

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(1, 4, 6)).astype(np.float32)
BODY = "g (float[3,4,6] x) => (float y) {{ q = LayerNormalization(w, g, b)  {} }}"
NORM: dict[str, Any] = {"g": (6,), "b": (6,)}


@pytest.mark.parametrize(
    ("nodes", "table", "shape"),
    [
        ("y = Add(x, q)", ROWS, (1, 4, 6)),
        ("y = Add(x, q)", np.repeat(ROWS, 3, axis=0), (3, 4, 6)),
        ("t = Transpose<perm=[1,0,2]>(q)  y = Add(x, t)", np.repeat(ROWS[0, :, None], 3, 1),
         (3, 4, 6)),
    ],
    ids=["one for all", "for each image", "sequence first"],
)  # fmt: skip
def test_a_layer_of_a_constant_is_one_of_a_parameter(
    nodes: str, table: np.ndarray, shape: tuple[int, ...]
) -> None:
    made = model(BODY.format(nodes), w=table, **NORM)
    graph = plain(made)
    unify(graph)
    made_of = only(graph, "Expand")
    learned = made_of.inputs[0]
    assert learned is not None and learned.const is not None
    assert np.array_equal(learned.const, ROWS) and made_of.output.shape == shape
    assert ops(graph) == ["Expand", "LayerNormalization", "Add"]
    assert_same_answers(made, graph)


def test_two_layers_of_one_constant_read_one_parameter() -> None:
    nodes = "m = MatMul(w, k)  n = Add(m, q)  y = Add(x, n)"
    made = model(BODY.format(nodes), w=ROWS, k=(6, 6), **NORM)
    graph = plain(made)
    unify(graph)
    assert only(graph, "Expand") in list(graph)[:2]
    assert_same_answers(made, graph)


def test_scores_of_constants_are_constants() -> None:
    nodes = "m = MatMul(a, c)  s = Mul(m, half)  p = Softmax<axis=-1>(s)  o = MatMul(p, d)"
    made = model(f"g (float[3,2,4,6] x) => (float y) {{ {nodes}  y = Add(x, o) }}", a=(1, 2, 4, 5),
                 c=(1, 2, 5, 4), half=0.5, d=(1, 2, 4, 6))  # fmt: skip
    graph = plain(made)
    unify(graph)
    assert ops(graph) == ["Add"]
    assert_same_answers(made, graph)


TOKENS: dict[str, Any] = {"a": (3, 1, 6), "b": (3, 2, 6)}


def test_tokens_on_both_sides_are_put_there_one_side_after_the_other() -> None:
    made = model("g (float[3,4,6] x) => (float y) { y = Concat<axis=1>(a, x, b) }", **TOKENS)
    graph = plain(made)
    unify(graph)
    assert ops(graph) == ["Concat", "Concat"]
    first, second = graph
    assert first.output.shape == (3, 5, 6)
    assert second.inputs[0] is first.output
    assert_same_answers(made, graph)


@pytest.mark.parametrize(
    "nodes",
    [
        "y = Concat<axis=1>(a, b, x)",
        "y = Concat<axis=1>(x, a, b)",
        "s = Sin(x)  y = Concat<axis=1>(a, x, s)",
        "y = Concat<axis=0>(a, x, c)",
    ],
    ids=["both before", "both behind", "computed", "more images"],
)
def test_what_is_joined_otherwise_stays(nodes: str) -> None:
    weights = TOKENS | ({"a": (1, 4, 6), "c": (2, 4, 6)} if "axis=0" in nodes else {})
    graph = plain(model(f"g (float[3,4,6] x) => (float y) {{ {nodes} }}", **weights))
    unify(graph)
    assert ops(graph).count("Concat") == 1


@pytest.mark.parametrize(
    ("parts", "lengths"),
    [("a, b, x", [3, 4]), ("x, a, b", [4, 3]), ("a, b, x, c, a, x", [3, 4, 3, 4])],
)
def test_constants_side_by_side_are_joined_once(parts: str, lengths: list[int]) -> None:
    body = f"g (float[2,6,4] x) => (float y) {{ y = Concat<axis=-1>({parts}) }}"
    made = model(body, a=(2, 6, 1), b=(2, 6, 2), c=(2, 6, 2))
    graph = plain(made)
    unify(graph)
    joined = only(graph, "Concat")
    assert [value.shape[-1] for value in joined.inputs if value and value.shape] == lengths
    assert_same_answers(made, graph)
