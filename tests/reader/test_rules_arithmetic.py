"""The rules for linear layers, means, arithmetic and Softmax."""

from typing import Any

import numpy as np
import pytest

from onnx2mvit.ir.graph import Node
from onnx2mvit.reader.rules import unify
from tests.reader.test_rules import only, ops, unified
from tests.support.graphs import model
from tests.support.run_graph import plain

# Read by tests.support.rules_table.
COVERS = {
    "GlobalAveragePoolIsMean",
    "MeanAxes",
    "MeanWithoutKeptAxes",
    "GemmIsMatMulAdd",
    "DivideIsMultiply",
    "ConstantOfMoreAxes",
    "DropIdentity",
    "SoftmaxAxis",
}


def constants(node: Node) -> list[Any]:
    return [value.const for value in node.inputs if value is not None and value.const is not None]


@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("alpha", [1.0, 0.25])
@pytest.mark.parametrize("beta", [1.0, 3.0])
def test_a_gemm_becomes_matmul_and_add(alpha: float, beta: float, trans_b: int) -> None:
    graph = unified(
        f"""(float[2,6] x) => (float y) {{
            y = Gemm<alpha={alpha}, beta={beta}, transB={trans_b}>(x, w, b)
        }}""",
        w=(4, 6) if trans_b else (6, 4),
        b=(4,),
    )
    assert ops(graph) == ["MatMul", "Add"]
    matmul, add = graph
    assert matmul.output.shape == add.output.shape == (2, 4)
    assert [array.shape for array in constants(matmul)] == [(6, 4)]
    assert [array.dtype for array in constants(matmul) + constants(add)] == [np.float32] * 2


def test_a_gemm_without_bias_becomes_a_matmul() -> None:
    graph = unified("(float[2,6] x) => (float y) { y = Gemm<alpha=0.5>(x, w) }", w=(6, 4))
    assert ops(graph) == ["MatMul"]
    assert graph.outputs[0].name == "y"


def test_a_gemm_of_a_transposed_input_stays() -> None:
    graph = unified("(float[6,2] x) => (float y) { y = Gemm<transA=1>(x, w) }", w=(6, 4))
    assert ops(graph) == ["Gemm"]


def test_a_gemm_with_a_computed_weight_stays() -> None:
    graph = unified("(float[6,6] x) => (float y) { s = Sigmoid(x)  y = Gemm(x, s) }")
    assert ops(graph) == ["Sigmoid", "Gemm"]


def test_a_global_average_pool_becomes_a_mean_that_keeps_its_axes() -> None:
    graph = unified("(float[2,3,4,5] x) => (float y) { y = GlobalAveragePool(x) }")
    assert ops(graph) == ["ReduceMean"]
    assert only(graph, "ReduceMean").attrs == {"axes": (2, 3), "keepdims": 1}


@pytest.mark.parametrize("flatten", ["Flatten(a)", "Squeeze(a, axes)", "Reshape(a, shape)"])
def test_a_global_average_pool_and_flatten_become_a_mean_without_axes(flatten: str) -> None:
    graph = unified(
        f"(float[2,3,4,5] x) => (float y) {{ a = GlobalAveragePool(x)  y = {flatten} }}",
        axes=[2, 3],
        shape=[0, -1],
    )
    assert ops(graph) == ["ReduceMean"]
    assert only(graph, "ReduceMean").attrs == {"axes": (2, 3), "keepdims": 0}


def test_a_mean_that_is_reshaped_to_something_else_keeps_its_axes() -> None:
    graph = unified(
        "(float[2,6,4,5] x) => (float y) { a = GlobalAveragePool(x)  y = Reshape(a, s) }",
        s=[4, 3],
    )
    assert ops(graph) == ["ReduceMean", "Reshape"]
    assert only(graph, "ReduceMean").attrs["keepdims"] == 1


@pytest.mark.parametrize("same", ["Add(s, zero)", "Add(zero, s)", "Mul(s, one)", "Mul(one, s)"])
def test_adding_the_number_0_or_multiplying_by_1_is_nothing(same: str) -> None:
    body = f"(float[2,3] x) => (float y) {{ s = Sigmoid(x)  t = {same}  y = Tanh(t) }}"
    graph = unified(body, zero=np.float32(0.0), one=np.float32(1.0))
    assert ops(graph) == ["Sigmoid", "Tanh"]


@pytest.mark.parametrize("added", [np.float32(1e-30), np.zeros(1), np.zeros(3)])
def test_adding_a_small_number_or_a_bias_of_zeros_is_something(added: Any) -> None:
    graph = unified(
        "(float[2,3] x) => (float y) { s = Sigmoid(x)  y = Add(s, added) }", added=added
    )
    assert ops(graph) == ["Sigmoid", "Add"]


@pytest.mark.parametrize("factor", [np.float32(1.001), np.ones(1), np.ones(3)])
def test_a_factor_near_1_or_one_that_may_be_trained_is_something(factor: Any) -> None:
    graph = unified("(float[2,3] x) => (float y) { s = Sigmoid(x)  y = Mul(s, f) }", f=factor)
    assert ops(graph) == ["Sigmoid", "Mul"]


@pytest.mark.parametrize(
    ("opset", "mean", "axes", "keepdims"),
    [
        (17, "ReduceMean<axes=[-1, -2]>(x)", (2, 3), 1),
        (17, "ReduceMean<axes=[3, 2], keepdims=0>(x)", (2, 3), 0),
        (17, "ReduceMean<axes=[-3]>(x)", (1,), 1),
        (17, "ReduceMean(x)", (0, 1, 2, 3), 1),
        (18, "ReduceMean(x, negative)", (2, 3), 1),
        (18, "ReduceMean<keepdims=0>(x, negative)", (2, 3), 0),
        (18, "ReduceMean(x)", (0, 1, 2, 3), 1),
        (20, "ReduceMean<noop_with_empty_axes=1>(x, negative)", (2, 3), 1),
    ],
)
def test_the_axes_of_a_mean_are_sorted_attributes_from_the_front(
    opset: int, mean: str, axes: tuple[int, ...], keepdims: int
) -> None:
    body = f"(float[2,3,4,5] x) => (float y) {{ y = {mean} }}"
    graph = unified(body, opset=opset, negative=[-1, 2])
    node = only(graph, "ReduceMean")
    assert node.attrs == {"axes": axes, "keepdims": keepdims}
    assert node.inputs == tuple(graph.inputs)


@pytest.mark.parametrize(
    ("opset", "total"),
    [(11, "ReduceSum<axes=[-1]>(x)"), (13, "ReduceSum(x, last)"), (13, "ReduceSum(x, third)")],
)
def test_the_axes_of_a_sum_are_attributes_too(opset: int, total: str) -> None:
    body = f"(float[2,3,4] x) => (float y) {{ y = {total} }}"
    graph = unified(body, opset=opset, last=[-1], third=[2])
    assert only(graph, "ReduceSum").attrs == {"axes": (2,), "keepdims": 1}


def test_a_mean_over_no_axes_that_does_nothing_is_not_made_one_over_all() -> None:
    graph = plain(
        model(
            "g (float[2,3] x) => (float[2,3] y) { y = ReduceMean<noop_with_empty_axes=1>(x) }",
            opset=18,
        )
    )
    unify(graph)
    assert "axes" not in only(graph, "ReduceMean").attrs


def test_a_division_by_a_number_becomes_a_multiplication() -> None:
    graph = unified("(float[2,3] x) => (float y) { y = Div(x, c) }", c=np.float32(4.0))
    assert ops(graph) == ["Mul"]
    assert [array.tolist() for array in constants(only(graph, "Mul"))] == [0.25]


@pytest.mark.parametrize(
    "body",
    [
        "(float[2,3] x) => (float y) { y = Div(c, x) }",
        "(float[2,3] x) => (float y) { s = Exp(x)  y = Div(x, s) }",
        "(float[2,3] x) => (float y) { y = Div(x, vector) }",
        "(float[2,3] x) => (float y) { n = Cast<to=7>(x)  d = Div(n, whole)  y = Cast<to=1>(d) }",
    ],
    ids=["of a number", "by a computed value", "by a vector", "of integers"],
)
def test_another_division_stays(body: str) -> None:
    graph = plain(model(f"g {body}", c=np.float32(4.0), vector=(3,), whole=np.int64(2)))
    unify(graph)
    assert len(graph.of(["Div"])) == 1


def test_a_division_by_zero_stays() -> None:
    graph = plain(model("g (float[2] x) => (float y) { y = Div(x, c) }", c=np.float32(0.0)))
    unify(graph)
    assert ops(graph) == ["Div"]


@pytest.mark.parametrize("opset", [11, 17])
def test_a_softmax_over_the_last_axis_says_so(opset: int) -> None:
    graph = unified("(float[2,3,4] x) => (float y) { y = Softmax<axis=2>(x) }", opset=opset)
    assert only(graph, "Softmax").attrs["axis"] == -1


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_softmax_over_another_axis_stays(axis: int, opset: int) -> None:
    graph = unified(f"(float[2,3,4] x) => (float y) {{ y = Softmax<axis={axis}>(x) }}", opset=opset)
    assert only(graph, "Softmax").attrs["axis"] == axis


@pytest.mark.parametrize("node", ["Mul(x, c)", "Sub(c, x)", "Pow(x, c)", "Max(c, x)"])
def test_a_constant_of_more_axes_adds_them_to_the_answer(node: str) -> None:
    c = np.full((1, 1, 1, 1, 1), 2, np.float32)
    graph = unified(f"(float[2,3,4,4] x) => (float y) {{ y = {node} }}", c=c)
    assert {*ops(graph)} == {node[:3], "Reshape"}
    assert graph.outputs[0].shape == (1, 2, 3, 4, 4)


def test_gelu_with_a_constant_of_more_axes_keeps_them() -> None:
    graph = unified(
        """(float[2,3,4,4] x) => (float y) {
            m = Mul(x, r)  e = Erf(m)  a = Add(e, one)  q = Mul(x, a)  y = Mul(q, half)
        }""",
        r=np.full((1, 1, 1, 1, 1), 0.5**0.5, np.float32),
        one=np.float32(1),
        half=np.float32(0.5),
    )
    assert graph.outputs[0].shape == (1, 2, 3, 4, 4)


def test_a_divisor_whose_inverse_is_no_float_stays() -> None:
    graph = unified("(float[2,3] x) => (float y) { y = Div(x, c) }", c=np.float32(1e38))
    assert ops(graph) == ["Div"]
