"""How rules are applied: all together, in any order, and what survives of the graph."""

from typing import Any

import numpy as np
import onnx
import pytest

from onnx2mvit.ir.graph import Graph
from onnx2mvit.reader.rules import MOST_PASSES, all_rules, unify
from onnx2mvit.reader.rules.apply import apply_once
from onnx2mvit.reader.rules.shape import AnyReshapeIsReshape, MergeMoves
from tests.reader.test_rules import only, ops, unified
from tests.support.graphs import model
from tests.support.run_graph import assert_same_answers, plain

MIXED = """g (float[2,3,8,8] x) => (float y, float z) {
    a = Conv<auto_pad="SAME_UPPER", strides=[2, 2]>(x, w, zeros)
    b = Dropout(a)
    c = Div(b, two)
    d = GlobalAveragePool(c)
    e = Flatten(d)
    f = Unsqueeze(e, last)
    g = Squeeze(f, last)
    y = Gemm<transB=1>(g, v, bias)
    h = Transpose<perm=[0, 2, 3, 1]>(c)
    i = Transpose<perm=[0, 3, 1, 2]>(h)
    z = Softmax<axis=3>(i)
}"""
MIXED_WEIGHTS: dict[str, Any] = {
    "w": (4, 3, 3, 3),
    "zeros": np.zeros(4, np.float32),
    "two": np.float32(2.0),
    "last": [2],
    "v": (5, 4),
    "bias": (5,),
}


def test_all_rules_together_bring_a_mixed_graph_to_one_spelling() -> None:
    graph = unified(MIXED.removeprefix("g "), **MIXED_WEIGHTS)
    assert ops(graph) == ["Conv", "Mul", "ReduceMean", "MatMul", "Add", "Softmax"]


def test_the_order_of_the_rules_does_not_matter() -> None:
    made = model(MIXED, opset=17, **MIXED_WEIGHTS)
    graph = plain(made)
    unify(graph, tuple(reversed(all_rules())))
    assert sorted(ops(graph)) == sorted(["Conv", "Mul", "ReduceMean", "MatMul", "Add", "Softmax"])
    assert_same_answers(made, graph)


def test_when_all_is_done_no_rule_has_anything_to_do() -> None:
    graph = unified(MIXED.removeprefix("g "), **MIXED_WEIGHTS)
    before = [(node, node.inputs, dict(node.attrs)) for node in graph]
    assert [apply_once(rule, graph) for rule in all_rules()] == [0] * len(all_rules())
    unify(graph)
    assert [(node, node.inputs, dict(node.attrs)) for node in graph] == before


def test_a_rule_that_a_graph_does_not_concern_is_not_tried() -> None:
    class OfSequences(MergeMoves):
        def concerns(self, graph: Graph) -> bool:
            return any(len(value.shape or ()) == 3 for value in graph.inputs)

    moves = "a = Reshape(x, one) y = Reshape(a, two)"
    shapes = {"float[2,6,4] x": ["Reshape"], "float[2,3,2,4] x": ["Reshape", "Reshape"]}
    for given, left in shapes.items():
        made = model(f"g ({given}) => (float y) {{ {moves} }}", one=[48], two=[4, 12])
        graph = plain(made)
        unify(graph, [AnyReshapeIsReshape(), OfSequences()])
        assert ops(graph) == left


def test_a_long_row_of_reshapes_is_merged_whatever_its_length() -> None:
    count = 3 * MOST_PASSES
    row = "  ".join(f"t{i} = Reshape(t{i - 1}, {'st'[i % 2]})" for i in range(1, count))
    graph = unified(
        f"(float[2,3] x) => (float y) {{ t0 = Neg(x)  {row}  y = Reshape(t{count - 1}, u) }}",
        s=[3, 2],
        t=[1, 6],
        u=[6],
    )
    assert ops(graph) == ["Neg", "Reshape"]


def test_a_tensor_that_survives_keeps_its_name_and_its_numbers() -> None:
    made = model(MIXED, opset=17, **MIXED_WEIGHTS)
    graph = plain(made)
    unify(graph)
    in_file = {name for node in made.graph.node for name in node.output}
    graph.outputs = [node.output for node in graph if node.output.name in in_file]
    names = [value.name for value in graph.outputs]
    assert names == ["a", "c", "e", "y", "z"]
    del made.graph.output[:]
    made.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    assert_same_answers(made, graph)


def test_an_inner_node_that_is_read_elsewhere_survives() -> None:
    graph = unified(
        """(float[2,3,4,5] x) => (float y, float z) {
            a = GlobalAveragePool(x)  y = Flatten(a)  z = Neg(a)
        }"""
    )
    kept, flat = graph.of(["ReduceMean"])
    if kept.attrs["keepdims"] == 0:
        kept, flat = flat, kept
    assert (kept.output.name, flat.output.name) == ("a", "y")
    assert (kept.attrs["keepdims"], flat.attrs["keepdims"]) == (1, 0)
    assert only(graph, "Neg").inputs == (kept.output,)


def test_an_inner_value_that_is_an_output_survives() -> None:
    graph = unified(
        "(float[2,3] x) => (float a, float y) { a = Reshape(x, s)  y = Reshape(a, t) }",
        s=[3, 2],
        t=[6],
    )
    assert [value.name for value in graph.outputs] == ["a", "y"]
    assert [value.shape for value in graph.outputs] == [(3, 2), (6,)]


@pytest.mark.parametrize(
    "last", ["Identity(a)", "Reshape(a, s)", "Dropout(a)", "Transpose<perm=[0, 1]>(a)"]
)
def test_an_output_that_a_rule_removes_keeps_its_name_for_the_user(last: str) -> None:
    graph = unified(f"(float[2,3] x) => (float[2,3] y) {{ a = Neg(x)  y = {last} }}", s=[2, 3])
    assert ops(graph) == ["Neg"]
    assert graph.output_names == ["y"]
    assert [value.name for value in graph.outputs] == ["a"]


def test_a_graph_that_does_nothing_ends_with_its_input() -> None:
    graph = unified("(float[2,3] x) => (float[2,3] y) { a = Identity(x)  y = Identity(a) }")
    assert ops(graph) == []
    assert graph.outputs == graph.inputs
    assert graph.output_names == ["y"]


def test_new_nodes_stand_where_the_old_one_stood() -> None:
    graph = unified(
        "(float[2,6] x) => (float y) { a = Neg(x)  b = Gemm(a, w, c)  y = Neg(b) }",
        w=(6, 4),
        c=(4,),
    )
    assert ops(graph) == ["Neg", "MatMul", "Add", "Neg"]


def test_what_nobody_reads_goes() -> None:
    graph = unified("(float[2,3] x) => (float y) { a = Neg(x)  b = Exp(a)  y = Abs(x) }")
    assert ops(graph) == ["Abs"]
