"""The rules for MobileViTv2: from an image to its patches and back, and group normalization."""

from typing import Any

import numpy as np
import onnx
import pytest

from onnx2mvit.ir.graph import Graph
from onnx2mvit.reader.rules import unify
from tests.reader.test_rules import only, ops, unified
from tests.support.graphs import model
from tests.support.run_graph import assert_same_answers, plain

# Read by tests.support.rules_table.
COVERS = {
    "DropIdentity",
    "DropExpand",
    "SharedReshape",
    "UnfoldFromGather",
    "UnfoldFromConv",
    "PixelShuffle",
    "GroupNormFromParts",
    "GroupNormPerChannel",
}

APART, TOGETHER = (0, 1, 3, 5, 2, 4), (0, 1, 4, 2, 5, 3)


def shapes(graph: Graph) -> list[tuple[int, ...] | None]:
    return [node.output.shape for node in graph]


def test_a_pad_by_nothing_goes() -> None:
    body = "(float[1,2,4,6] x) => (float y) { p = Pad(x, pads)  y = Neg(p) }"
    assert ops(unified(body, pads=[0] * 8)) == ["Neg"]
    assert ops(unified(body, pads=[0] * 7 + [1])) == ["Pad", "Neg"]


@pytest.mark.parametrize("product", ["Mul(x, e)", "Mul(e, x)"])
def test_mul_broadcasts_by_itself(product: str) -> None:
    body = f"(float[2,3,4] x, float[2,3,1] z) => (float y) {{ e = Expand(z, s)  y = {product} }}"
    graph = unified(body, s=[2, 3, 4])
    assert ops(graph) == ["Mul"]
    assert set(only(graph, "Mul").inputs) == set(graph.inputs)


@pytest.mark.parametrize("shape", [[2, 3, 4], [5, 2, 3, 4]])
def test_an_expand_that_makes_the_product_larger_stays(shape: list[int]) -> None:
    body = "(float[3,1] x, float[3,1] z) => (float y) { e = Expand(z, s)  y = Mul(x, e) }"
    assert "Expand" in ops(unified(body, s=shape))


def test_one_value_in_one_shape_is_one_reshape() -> None:
    graph = unified(
        """(float[2,3,4] x) => (float y, float z) {
            n = Neg(x)  a = Reshape(n, s)  b = Reshape(n, s)  c = Reshape(n, t)
            y = Mul(a, b)  z = Exp(c)
        }""",
        s=[6, 4],
        t=[4, 6],
    )
    assert ops(graph) == ["Neg", "Reshape", "Reshape", "Mul", "Exp"]
    assert len(set(only(graph, "Mul").inputs)) == 1


def index(patch: int, count: int, step: int | None = None) -> list[list[int]]:
    """Where the pixels of patches are along one axis, as torch's unfold is exported."""
    return [[k + n * (step or patch) for n in range(count)] for k in range(patch)]


GATHERED = """(float[2,3,{height},{width}] x) => (float y) {{
    p = Pad(x, pads)  r = Gather<axis=2>(p, rows)  c = Gather<axis=4>(r, columns)
    y = Transpose<perm=[{perm}]>(c)
}}"""


def gathered(
    height: int, width: int, rows: Any, columns: Any, perm: str = "0,1,2,4,3,5", pad: int = 0
) -> Graph:
    body = GATHERED.format(height=height, width=width, perm=perm)
    return unified(body, pads=[0, 0, pad, 0, 0, 0, 0, 0], rows=rows, columns=columns)


@pytest.mark.parametrize("patch", [2, 3])
def test_a_gathered_unfold_becomes_a_reshape_and_a_transpose(patch: int) -> None:
    graph = gathered(4 * patch, 5 * patch, index(patch, 4), index(patch, 5))
    assert ops(graph) == ["Reshape", "Transpose"]
    assert shapes(graph)[0] == (2, 3, 4, patch, 5, patch)
    assert only(graph, "Transpose").attrs["perm"] == APART


@pytest.mark.parametrize(
    ("height", "width", "cuts"), [(9, 6, 1), (8, 7, 1), (9, 7, 2)], ids=["rows", "columns", "both"]
)
def test_what_no_patch_covers_is_cut_off(height: int, width: int, cuts: int) -> None:
    graph = gathered(height, width, index(2, 4), index(2, 3))
    assert ops(graph) == ["Slice"] * cuts + ["Reshape", "Transpose"]
    assert shapes(graph)[cuts] == (2, 3, 4, 2, 3, 2)


@pytest.mark.parametrize(
    ("rows", "columns", "how"),
    [
        (index(2, 7, step=1), index(2, 4), {}),
        (index(2, 2, step=4), index(2, 4), {}),
        (index(2, 4), index(2, 3), {}),
        (index(2, 4)[::-1], index(2, 4), {}),
        (index(2, 4), index(2, 4), {"perm": "0,1,4,2,3,5"}),
    ],
    ids=["overlap", "gaps", "a column of patches less", "upside down", "by columns"],
)
def test_another_unfold_stays(rows: Any, columns: Any, how: dict[str, Any]) -> None:
    assert "Gather" in ops(gathered(8, 8, rows, columns, **how))


def test_padding_is_not_part_of_an_unfold() -> None:
    graph = gathered(7, 8, index(2, 4), index(2, 4), pad=1)
    assert ops(graph) == ["Pad", "Reshape", "Transpose"]


def picking(channels: int, patch: int) -> np.ndarray[Any, Any]:
    """The kernel with which ml-cvnets unfolds by a convolution."""
    pixels = patch**2
    return np.tile(np.eye(pixels).reshape(pixels, 1, patch, patch), (channels, 1, 1, 1))


@pytest.mark.parametrize(("size", "patch", "cuts"), [(8, 2, 0), (9, 3, 0), (9, 2, 2)])
def test_a_convolution_that_only_picks_becomes_a_transpose(
    size: int, patch: int, cuts: int
) -> None:
    body = f"""(float[2,3,{size},{size}] x) => (float y) {{
        y = Conv<strides=[{patch},{patch}], group=3>(x, w)
    }}"""
    graph = unified(body, w=picking(3, patch))
    assert ops(graph) == ["Slice"] * cuts + ["Reshape", "Transpose", "Reshape"]
    assert only(graph, "Transpose").attrs["perm"] == APART


@pytest.mark.parametrize(
    ("kernel", "attrs"),
    [
        (picking(3, 2) * 2, "strides=[2,2], group=3"),
        (picking(3, 2)[::-1], "strides=[2,2], group=3"),
        (picking(3, 2), "strides=[2,1], group=3"),
        (picking(3, 2), "strides=[2,2], group=3, pads=[0,0,1,1]"),
        (picking(3, 2), "strides=[2,2], group=3, dilations=[2,2]"),
        (picking(3, 2)[:6], "strides=[2,2], group=3"),
        (np.ones((3, 1, 1, 1)), "group=3"),
        (picking(3, 2), "group=3"),
    ],
    ids=[
        "doubled",
        "reversed",
        "overlap",
        "padded",
        "dilated",
        "not all",
        "one pixel",
        "no strides",
    ],
)
def test_another_convolution_stays(kernel: Any, attrs: str) -> None:
    body = f"(float[2,3,8,8] x) => (float y) {{ y = Conv<{attrs}>(x, w) }}"
    assert "Conv" in ops(unified(body, w=kernel))


def test_a_picking_convolution_with_a_bias_stays() -> None:
    body = "(float[2,3,8,8] x) => (float y) { y = Conv<strides=[2,2], group=3>(x, w, b) }"
    assert "Conv" in ops(unified(body, w=picking(3, 2), b=(12,)))


def test_a_pixel_shuffle_becomes_a_transpose() -> None:
    body = '(float[2,12,4,5] x) => (float y) {{ y = DepthToSpace<blocksize=2, mode="{}">(x) }}'
    graph = unified(body.format("CRD"))
    assert ops(graph) == ["Reshape", "Transpose", "Reshape"]
    assert shapes(graph)[0] == (2, 3, 2, 2, 4, 5)
    assert only(graph, "Transpose").attrs["perm"] == TOGETHER
    assert ops(unified(body.format("DCR"))) == ["DepthToSpace"]


PARTS = """(float[2,6,4,5] x) => (float y) {
    g = Reshape(x, groups)  i = InstanceNormalization<epsilon=0.01>(g, ones, zeros)
    w = Reshape(i, whole)  s = Mul(w, gamma)  y = Add(s, beta)
}"""


def parts(number: int, **weights: Any) -> dict[str, Any]:
    usual = {
        "groups": [2, number, -1],
        "ones": np.ones(number),
        "zeros": np.zeros(number),
        "whole": [2, 6, 4, 5],
        "gamma": (6, 1, 1),
        "beta": (6, 1, 1),
    }
    return usual | weights


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("shape", [(6, 1, 1), (1, 6, 1, 1)])
def test_a_group_norm_in_parts_becomes_one(groups: int, shape: tuple[int, ...]) -> None:
    graph = unified(PARTS, **parts(groups, gamma=shape, beta=shape))
    assert ops(graph) == ["GroupNormalization"]
    node = only(graph, "GroupNormalization")
    assert node.attrs == {"num_groups": groups, "epsilon": pytest.approx(0.01)}
    assert [value and value.shape for value in node.inputs] == [(2, 6, 4, 5), (6,), (6,)]


def test_a_group_norm_may_be_without_a_bias() -> None:
    graph = unified(PARTS, **parts(2, beta=np.zeros(1)))
    assert ops(graph) == ["GroupNormalization"]
    _, _, beta = only(graph, "GroupNormalization").inputs
    assert beta is not None and beta.const is not None
    assert beta.const.shape == (6,) and not beta.const.any()


def test_a_sum_after_a_group_norm_reads_what_it_reads() -> None:
    """Where an optimiser made one Reshape of two, norm and sum read another value than one."""
    body = """(float[2,24,5] x) => (float y) {
        m = Neg(x)  v = Reshape(m, whole)  g = Reshape(m, groups)
        i = InstanceNormalization(g, ones, zeros)  w = Reshape(i, whole)
        s = Mul(w, gamma)  n = Add(s, beta)  y = Add(n, v)
    }"""
    graph = unified(body, **parts(1))
    assert ops(graph) == ["Neg", "Reshape", "GroupNormalization", "Add"]
    norm = only(graph, "GroupNormalization")
    assert set(only(graph, "Add").inputs) == {norm.inputs[0], norm.output}


@pytest.mark.parametrize(
    "change",
    [
        {"ones": np.array([1, 1.1])},
        {"zeros": np.array([0, 0.1])},
        {"gamma": (5,)},
        {"beta": (4, 5)},
        {"gamma": (1,)},
        {"beta": np.ones(1)},
        {"groups": [1, 4, -1], "ones": np.ones(4), "zeros": np.zeros(4)},
        {"groups": [2, 4, -1], "ones": np.ones(4), "zeros": np.zeros(4)},
        {"whole": [2, 6, 20], "gamma": (20,), "beta": (20,)},
    ],
    ids=["scale", "shift", "columns", "places", "one", "a number", "batch", "groups", "other axis"],
)
def test_what_differs_from_a_group_norm_stays(change: dict[str, Any]) -> None:
    assert "InstanceNormalization" in ops(unified(PARTS, **(parts(2) | change)))


def test_a_scale_for_each_group_becomes_one_for_each_channel() -> None:
    body = """g (float[2,6,4,5] x) => (float[2,6,4,5] y) {
        y = GroupNormalization<num_groups=2, epsilon=0.01>(x, gamma, beta)
    }"""
    made = model(body, opset=18, gamma=(2,), beta=(2,))
    graph = plain(made)
    unify(graph)
    node = only(graph, "GroupNormalization")
    assert [value and value.shape for value in node.inputs] == [(2, 6, 4, 5), (6,), (6,)]
    assert_same_answers(made, graph)


def test_a_scale_for_each_channel_stays() -> None:
    body = """g (float[2,6,4,5] x) => (float[2,6,4,5] y) {
        y = GroupNormalization<num_groups=2>(x, gamma, beta)
    }"""
    made: onnx.ModelProto = model(body, opset=21, gamma=(6,), beta=(6,))
    graph = plain(made)
    unify(graph)
    assert [value and value.name for value in only(graph, "GroupNormalization").inputs] == [
        *("x", "gamma", "beta")
    ]
