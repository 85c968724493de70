"""The rules that take a part of what a layer gives out of its weights beforehand."""

from typing import Any

import numpy as np
import pytest

from onnx2mvit.ir.graph import Graph
from tests.reader.test_rules import ops, unified

# Read by tests.support.rules_table.
COVERS = {"MovedConstant", "SelectFromLinear", "SliceOfLinear", "PartOfChannels"}


def kernels(graph: Graph) -> list[Any]:
    return [
        value.const
        for node in graph.of(["MatMul"])
        for value in node.inputs
        if value is not None and value.const is not None
    ]


@pytest.mark.parametrize("add", ["Add(m, b)", "Add(b, m)", "Identity(m)"])
@pytest.mark.parametrize(
    ("divided", "axis", "columns"),
    [
        ([2, 5, 3, 2, 2], 2, [4, 5, 6, 7]),
        ([2, 5, 2, 3, 2], 3, [2, 3, 8, 9]),
        ([2, 5, 3, 4], 2, [4, 5, 6, 7]),
    ],
)
def test_a_part_of_a_linear_layer_is_a_smaller_one(
    divided: list[int], axis: int, columns: list[int], add: str
) -> None:
    w = np.random.default_rng(1).normal(size=(6, 12)).astype(np.float32)
    graph = unified(
        f"""(float[2,5,6] x) => (float y) {{
            m = MatMul(x, w)  l = {add}  d = Reshape(l, s)  y = Gather<axis={axis}>(d, i)
        }}""",
        w=w,
        b=(12,),
        s=divided,
        i=np.int64(1),
    )
    assert "Select" not in ops(graph)
    (kernel,) = kernels(graph)
    assert (kernel == w[:, columns]).all()
    while isinstance(kernel.base, np.ndarray):
        kernel = kernel.base
    assert kernel.flags.owndata == (columns != [4, 5, 6, 7])  # columns in a row are no copy


@pytest.mark.parametrize(("divided", "axis"), [([2, 5, 3, 4], 1), ([10, 3, 4], 0), ([5, 2, 12], 0)])
def test_a_part_of_the_tokens_is_not(divided: list[int], axis: int) -> None:
    graph = unified(
        f"""(float[2,5,6] x) => (float y) {{
            m = MatMul(x, w)  d = Reshape(m, s)  y = Gather<axis={axis}>(d, i)
        }}""",
        w=(6, 12),
        s=divided,
        i=np.int64(1),
    )
    (kernel,) = kernels(graph)
    assert kernel.shape == (6, 12) and "Select" in ops(graph)


def test_parts_of_a_constant_that_are_turned_are_constants() -> None:
    w = np.random.default_rng(1).normal(size=(12, 6)).astype(np.float32)
    graph = unified(
        """(float[2,5,6] x) => (float y) {
            p, q = Split<axis=0>(w, sizes)  t = Transpose<perm=[1,0]>(q)  y = MatMul(x, t)
        }""",
        w=w,
        sizes=[4, 8],
    )
    (kernel,) = kernels(graph)
    assert ops(graph) == ["MatMul"] and (kernel == w[4:].T).all()


def test_a_chunk_of_a_linear_layer_is_a_smaller_one() -> None:
    w = np.random.default_rng(1).normal(size=(6, 12)).astype(np.float32)
    graph = unified(
        """(float[2,5,6] x) => (float y, float z) {
            m = MatMul(x, w)  l = Add(b, m)  p, q = Split<axis=-1>(l, sizes)
            y = Neg(p)  z = Neg(q)
        }""",
        w=w,
        b=(12,),
        sizes=[4, 8],
    )
    assert sorted(ops(graph)) == ["Add", "Add", "MatMul", "MatMul", "Neg", "Neg"]
    first, second = sorted(kernels(graph), key=lambda kernel: kernel.shape[1])
    assert (first == w[:, :4]).all()
    assert (second == w[:, 4:]).all()


@pytest.mark.parametrize("axis", [0, 1])
def test_a_chunk_of_the_tokens_is_not(axis: int) -> None:
    graph = unified(
        """(float[2,5,6] x) => (float y) { m = MatMul(x, w)  y = Slice(m, s, e, a) }""",
        w=(6, 12),
        s=[0],
        e=[1],
        a=[axis],
    )
    assert ops(graph) == ["MatMul", "Slice"]


def test_a_chunk_of_a_product_of_two_computed_tensors_stays() -> None:
    graph = unified(
        """(float[2,5,6] x) => (float y) {
            t = Transpose<perm=[0, 2, 1]>(x)  m = MatMul(x, t)  y = Slice(m, s, e, a)
        }""",
        s=[0],
        e=[1],
        a=[2],
    )
    assert ops(graph) == ["Transpose", "MatMul", "Slice"]


@pytest.mark.parametrize("moved", [False, True])
def test_a_part_of_each_head_is_a_smaller_linear_layer(moved: bool) -> None:
    """Query, key and value of a head stand side by side, and heads may be brought before tokens."""
    turn = "h = Transpose<perm=[0, 2, 1, 3]>(d)" if moved else "h = Identity(d)"
    graph = unified(
        "(float[2,5,4] x) => (float y) { p = MatMul(x, w) "
        f"d = Reshape(p, shape) {turn} s = Slice(h, one, three, last)  y = Neg(s) }}",
        w=(w := np.arange(48, dtype="float32").reshape(4, 12)),
        shape=[2, 5, 3, 4],
        one=[1],
        three=[3],
        last=[3],
    )
    assert ops(graph) == ["MatMul", "Reshape", *["Transpose"] * moved, "Neg"]
    (kernel,) = kernels(graph)
    assert (kernel == w.reshape(4, 3, 4)[..., 1:3].reshape(4, 6)).all()
    (y,) = graph.outputs
    assert y.shape == ((2, 3, 5, 2) if moved else (2, 5, 3, 2))


@pytest.mark.parametrize("axis", ["axis2", "axis3"])
def test_a_part_of_normalized_channels_is_normalized_by_itself(axis: str) -> None:
    """Some heads, or a part of each."""
    graph = unified(
        f"""(float[2,5,4] x) => (float y) {{
            p = MatMul(x, w)  f = Reshape(p, rows)  n = BatchNormalization(f, g, b, m, v)
            d = Reshape(n, heads)  s = Slice(d, zero, two, {axis})  y = Neg(s)
        }}""",
        w=(w := np.arange(48, dtype="float32").reshape(4, 12)),
        g=(weights := np.arange(1, 13, dtype="float32")),
        b=weights,
        m=weights,
        v=weights,
        rows=[10, 12],
        heads=[2, 5, 3, 4],
        zero=[0],
        two=[2],
        axis2=[2],
        axis3=[3],
    )
    assert ops(graph) == ["MatMul", "Reshape", "BatchNormalization", "Reshape", "Neg"]
    heads = np.arange(12).reshape(3, 4)
    columns = (heads[:, :2] if axis == "axis3" else heads[:2]).reshape(-1)
    (kernel,) = kernels(graph)
    (norm,) = graph.of(["BatchNormalization"])
    assert (kernel == w[:, columns]).all()
    for value in norm.inputs[1:]:
        assert value is not None and value.const is not None
        assert (value.const == columns + 1).all()


def test_a_part_of_the_channels_of_a_convolution_is_a_smaller_one() -> None:
    graph = unified(
        """(float[2,4,3,3] x) => (float y) {
            c = Conv(x, w, b)  d = Reshape(c, heads)  s = Slice(d, zero, two, axis)  y = Neg(s)
        }""",
        w=(w := np.arange(48, dtype="float32").reshape(12, 4, 1, 1)),
        b=np.arange(12, dtype="float32"),
        heads=[2, 3, 4, 9],
        zero=[0],
        two=[2],
        axis=[2],
    )
    assert ops(graph) == ["Conv", "Reshape", "Neg"]
    (conv,) = graph.of(["Conv"])
    _, kernel, bias = conv.inputs
    assert kernel is not None and kernel.const is not None
    assert (kernel.const == w.reshape(3, 4, 4, 1, 1)[:, :2].reshape(6, 4, 1, 1)).all()
    assert bias is not None and bias.const is not None
    assert bias.const.tolist() == [0, 1, 4, 5, 8, 9]


def test_a_part_of_the_pixels_of_a_convolution_stays() -> None:
    graph = unified(
        """(float[2,4,3,3] x) => (float y) {
            c = Conv(x, w)  d = Reshape(c, tokens)  s = Slice(d, zero, two, axis)  y = Neg(s)
        }""",
        w=(12, 4, 1, 1),
        tokens=[2, 12, 9],
        zero=[0],
        two=[2],
        axis=[2],
    )
    assert ops(graph) == ["Conv", "Reshape", "Slice", "Neg"]
