"""The rules for torch's nn.MultiheadAttention, whose tensors have the sequence before the batch."""

from typing import Any

import onnx
import pytest

from onnx2mvit.reader.rules import unify
from tests.reader.test_rules import ops
from tests.support.graphs import model
from tests.support.run_graph import assert_same_answers, plain

# Read by tests.support.rules_table.
COVERS = {
    "SelectBeforeReshape",
    "FlatLinear",
    "TokensOfHeads",
    "TurnAfterTokens",
    "TurnAtInput",
    "HeadsOfEachImage",
}


def tokens(nodes: str, opset: int = 20, **weights: Any) -> onnx.ModelProto:
    """Nodes on tokens x[2,5,4] and others o[2,5,4]; t and u are these with the sequence first."""
    turned = "t = Transpose<perm=[1,0,2]>(x)  u = Transpose<perm=[1,0,2]>(o)"
    text = f"g (float[2,5,4] x, float[2,5,4] o) => (float y) {{ {turned}  {nodes} }}"
    return model(text, opset=opset, **{"g": (4,), "b": (4,), "w": (4, 6), **weights})


@pytest.mark.parametrize(
    ("nodes", "left"),
    [
        ("y = LayerNormalization<axis=-1>(t, g, b)", ["LayerNormalization"]),
        ("m = MatMul(t, w)  y = Relu(m)", ["MatMul", "Relu"]),
        ("y = Add(t, u)", ["Add"]),
        ("m = Gelu(t)  n = Add(m, u)  y = Mul(n, g)", ["Gelu", "Add", "Mul"]),
        ("y = Add(t, places)", ["Add"]),
        ("m = Transpose<perm=[0,2,1]>(x)  n = Transpose<perm=[2,0,1]>(m)  y = Relu(n)", ["Relu"]),
    ],
)
def test_what_treats_each_token_alike_is_turned_afterwards(nodes: str, left: list[str]) -> None:
    made = tokens(nodes, places=(5, 1, 4))
    graph = plain(made)
    unify(graph)
    assert ops(graph) == [*left, "Transpose"]
    assert_same_answers(made, graph)


@pytest.mark.parametrize(
    "nodes",
    [
        "y = LayerNormalization<axis=1>(t, whole, whole)",
        "y = Softmax<axis=0>(t)",
        "k = Reshape(x, swapped)  y = Add(t, k)",
        "y = Mul(t, half)",
        "n = Transpose<perm=[0,2,1]>(x)  y = Relu(n)",
    ],
    ids=["over all", "along the sequence", "one of them alone", "a scale", "another turn"],
)
def test_what_is_something_else_is_not_passed(nodes: str) -> None:
    made = tokens(nodes, whole=(2, 4), swapped=[5, 2, 4], half=0.5)
    graph = plain(made)
    last = ops(graph)[-1]
    unify(graph)
    assert ops(graph)[-1] == last
    assert_same_answers(made, graph)


@pytest.mark.parametrize(
    ("nodes", "left"),
    [
        ("y = LayerNormalization<axis=-1>(x, g, b)", ["LayerNormalization"]),
        ("m = MatMul(x, w)  y = Relu(m)", ["MatMul", "Relu"]),
        ("n = Add(x, places)  m = Gelu(n)  y = Add(x, m)", ["Add", "Gelu", "Add"]),
    ],
)
def test_an_input_with_the_sequence_first_is_turned(nodes: str, left: list[str]) -> None:
    weights: Any = {"g": (4,), "b": (4,), "w": (4, 6), "places": (5, 1, 4)}
    used = {name: value for name, value in weights.items() if f"{name})" in nodes.replace(",", ")")}
    made = model(f"g (float[5,2,4] x) => (float y) {{ {nodes} }}", opset=20, **used)
    graph = plain(made)
    graph.batch_axes = {graph.inputs[0]: 1}
    unify(graph)
    assert ops(graph) == ["Transpose", *left, "Transpose"]
    assert_same_answers(made, graph)
    images_first = plain(made)
    unify(images_first)
    assert ops(images_first) == left


def test_a_linear_layer_on_all_tokens_is_one_on_those_of_each_image() -> None:
    nodes = "f = Reshape(x, flat)  m = Gemm(f, w, c)  y = Reshape(m, apart)"
    made = tokens(nodes, flat=[10, 4], apart=[2, 5, 6], c=(6,))
    graph = plain(made)
    unify(graph)
    assert ops(graph) == ["MatMul", "Add"]
    assert_same_answers(made, graph)
    divided = plain(tokens(nodes, flat=[10, 4], apart=[2, 5, 2, 3], c=(6,)))
    unify(divided)
    assert ops(divided) == ["Reshape", "MatMul", "Add", "Reshape"]


def test_heads_are_put_together_with_the_images_first() -> None:
    nodes = "h = Reshape(x, heads)  p = Transpose<perm=[2,0,1,3]>(h)  y = Reshape(p, joined)"
    made = tokens(nodes, heads=[2, 2, 5, 2], joined=[5, 2, 4])
    graph = plain(made)
    unify(graph)
    assert [node.attrs.get("perm") for node in graph.of(["Transpose"])] == [(0, 2, 1, 3), (1, 0, 2)]
    assert_same_answers(made, graph)


@pytest.mark.parametrize(
    ("apart", "axis", "left"),
    [
        ([5, 2, 2, 2], 0, ["Sin", "Select", "Reshape"]),
        ([1, 5, 2, 4], 1, ["Sin", "Select", "Reshape"]),
        ([5, 2, 2, 2], 2, ["Sin", "Transpose", "Reshape", "Select"]),
    ],
)
def test_what_a_reshape_leaves_alone_is_selected_before_it(
    apart: list[int], axis: int, left: list[str]
) -> None:
    moved = "s = Sin(x)  p = Transpose<perm=[1,0,2]>(s)  r = Reshape(p, apart)"
    nodes = f"{moved}  y = Gather<axis={axis}>(r, one)"
    made = tokens(nodes, apart=apart, one=1)
    graph = plain(made)
    unify(graph)
    assert ops(graph) == left
    assert_same_answers(made, graph)


HEADS = """
    q = Reshape(x, apart)  qh = Transpose<perm=[1,0,2]>(q)  ql = Reshape(qh, flat)
    k = Transpose<perm=[0,2,1]>(ql)  m = MatMul(x, w)
    v = Reshape(m, heads)  vh = Transpose<perm=[0,2,1,3]>(v)  vl = Reshape(vh, rows)
"""


@pytest.mark.parametrize(
    "scores",
    ["s = MatMul(ql, k)", "r = MatMul(ql, k)  s = Mul(r, half)",
     "r = MatMul(ql, k)  t1 = Mul(r, half)  s = Add(t1, mask)",
     "r = MatMul(ql, k)  s = Add(r, one)"],
)  # fmt: skip
def test_heads_of_all_images_are_those_of_each(scores: str) -> None:
    nodes = f"{HEADS} {scores}  p = Softmax<axis=-1>(s)  y = MatMul(p, vl)"
    made = tokens(nodes, apart=[5, 4, 2], flat=[4, 5, 2], heads=[2, 5, 2, 3], rows=[4, 5, 3],
                  half=0.5, mask=(5, 5), one=(1, 5, 5))  # fmt: skip
    graph = plain(made)
    unify(graph)
    assert [len(node.output.shape or ()) for node in graph.of(["Softmax"])] == [4]
    assert_same_answers(made, graph)


def test_heads_with_a_mask_of_their_own_stay_in_a_row() -> None:
    nodes = (
        f"{HEADS} r = MatMul(ql, k)  s = Add(r, mask)  p = Softmax<axis=-1>(s)  y = MatMul(p, vl)"
    )
    made = tokens(nodes, apart=[5, 4, 2], flat=[4, 5, 2], heads=[2, 5, 2, 3], rows=[4, 5, 3],
                  mask=(4, 5, 5))  # fmt: skip
    graph = plain(made)
    unify(graph)
    assert [len(node.output.shape or ()) for node in graph.of(["Softmax"])] == [3]
