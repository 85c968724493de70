"""The rules for parts of tensors, and for parts that are joined again."""

from typing import Any

import numpy as np
import pytest

from onnx2mvit.ir.graph import Graph
from tests.reader.test_rules import only, ops, unified

# Read by tests.support.rules_table.
COVERS = {
    "SplitIsSlices",
    "SliceAttributes",
    "SelectFromSlice",
    "SelectFromGather",
    "GatherOfAll",
    "ConcatGrows",
    "RollFromSlices",
    "MergeRolls",
    "SelectBeforeTranspose",
    "SliceBeforeTranspose",
}


def cuts(graph: Graph) -> list[tuple[int, int, int]]:
    return [
        (node.attrs["axis"], node.attrs["start"], node.attrs["end"])
        for node in graph.of(["Slice"])
        if len(node.inputs) == 1
    ]


@pytest.mark.parametrize(
    ("opset", "split"),
    [
        (11, "Split<axis=-1, split=[2, 4]>(x)"),
        (17, "Split<axis=-1>(x, sizes)"),
        (17, "Split<axis=2>(x, sizes)"),
    ],
)
def test_a_split_becomes_slices(opset: int, split: str) -> None:
    graph = unified(
        f"(float[2,3,6] x) => (float y, float z) {{ a, b = {split}  y = Neg(a)  z = Neg(b) }}",
        opset=opset,
        sizes=[2, 4],
    )
    assert sorted(ops(graph)) == ["Neg", "Neg", "Slice", "Slice"]
    assert cuts(graph) == [(2, 0, 2), (2, 2, 6)]


def test_a_split_into_equal_parts_becomes_slices() -> None:
    graph = unified(
        "(float[6,2] x) => (float y, float z) { a, b = Split(x)  y = Neg(b)  z = Neg(a) }"
    )
    assert cuts(graph) == [(0, 0, 3), (0, 3, 6)]


@pytest.mark.parametrize(
    ("nodes", "cut"),
    [
        ("Slice(x, s1, e3, a1)", (1, 1, 3)),
        ("Slice(x, m3, e9, a1, one)", (1, 2, 5)),
        ("Slice(x, s1, e9, am1)", (2, 1, 4)),
        ("Slice(x, s1, e9)", (0, 1, 2)),
    ],
)
def test_the_bounds_of_a_slice_are_attributes_from_the_front(
    nodes: str, cut: tuple[int, int, int]
) -> None:
    bounds: dict[str, Any] = {
        "s1": [1],
        "e3": [3],
        "m3": [-3],
        "e9": [2**62],
        "a1": [1],
        "am1": [-1],
        "one": [1],
    }
    graph = unified(f"(float[2,5,4] x) => (float y) {{ y = {nodes} }}", **bounds)
    assert cuts(graph) == [cut]
    assert {"axis", "start", "end"} <= only(graph, "Slice").attrs.keys()


def test_a_slice_of_everything_goes() -> None:
    graph = unified(
        "(float[2,5] x) => (float y) { a = Slice(x, s, e, axes)  y = Neg(a) }",
        s=[0, 0],
        e=[2, 2**62],
        axes=[0, 1],
    )
    assert ops(graph) == ["Neg"]


@pytest.mark.parametrize(
    "bounds",
    [
        {"s": [0, 1], "e": [1, 3], "a": [0, 1], "t": [1, 1]},
        {"s": [0], "e": [5], "a": [1], "t": [2]},
        {"s": [4], "e": [-9], "a": [1], "t": [-1]},
    ],
    ids=["two axes", "every other", "backwards"],
)
def test_another_slice_stays(bounds: dict[str, Any]) -> None:
    graph = unified("(float[2,5] x) => (float y) { y = Slice(x, s, e, a, t) }", **bounds)
    assert len(only(graph, "Slice").inputs) == 5


def test_a_slice_of_one_whose_axis_goes_is_selected() -> None:
    graph = unified(
        "(float[2,3,4] x) => (float y) { a = Slice(x, s, e, axes)  y = Squeeze(a, axes) }",
        s=[1],
        e=[2],
        axes=[1],
    )
    assert ops(graph) == ["Select"]
    assert only(graph, "Select").attrs == {"axis": 1, "index": 1}


@pytest.mark.parametrize(("end", "shape"), [(3, [2, 8]), (2, [2, 2, 2])])
def test_a_slice_of_several_or_in_another_shape_is_not(end: int, shape: list[int]) -> None:
    graph = unified(
        "(float[2,3,4] x) => (float y) { a = Slice(x, s, e, axes)  y = Reshape(a, shape) }",
        s=[1],
        e=[end],
        axes=[1],
        shape=shape,
    )
    assert ops(graph) == ["Slice", "Reshape"]


@pytest.mark.parametrize(("axis", "index", "selected"), [(0, 1, (0, 1)), (-2, -1, (1, 2))])
def test_a_gather_of_one_index_is_selected(
    axis: int, index: int, selected: tuple[int, int]
) -> None:
    graph = unified(
        f"(float[2,3,4] x) => (float y) {{ y = Gather<axis={axis}>(x, i) }}", i=np.int64(index)
    )
    assert ops(graph) == ["Select"]
    attributes = only(graph, "Select").attrs
    assert (attributes["axis"], attributes["index"]) == selected
    assert attributes.get("stated", index) == index  # which from the end is another elsewhere


def test_a_gather_of_several_or_by_what_is_computed_stays() -> None:
    graph = unified("(float[2,3] x) => (float y) { y = Gather<axis=1>(x, i) }", i=[0, 2])
    assert ops(graph) == ["Gather"]
    graph = unified(
        """(float[2,3] x) => (float y) {
            a = ArgMax<axis=0, keepdims=0>(x)  b = Gather<axis=0>(table, a)  y = Neg(b)
        }""",
        table=(2, 5),
    )
    assert "Select" not in ops(graph)


def test_what_is_selected_is_transposed_by_itself() -> None:
    graph = unified(
        """(float[2,3,4,5,6] x) => (float y) {
            a = Transpose<perm=[2, 0, 3, 1, 4]>(x)  y = Gather<axis=2>(a, i)
        }""",
        i=np.int64(4),
    )
    assert ops(graph) == ["Select", "Transpose"]
    assert only(graph, "Select").attrs == {"axis": 3, "index": 4}
    assert only(graph, "Transpose").attrs["perm"] == (2, 0, 1, 3)


@pytest.mark.parametrize(
    ("order", "expected"), [(range(6), "Reshape"), ((0, 1, 2, 3, 5, 4), "Gather")]
)
def test_a_gather_of_all_elements_in_order_is_a_reshape(order: Any, expected: str) -> None:
    graph = unified(
        "(float[2,3] x) => (float y) { f = Reshape(x, flat)  g = Gather(f, i)  y = Neg(g) }",
        flat=[6],
        i=np.reshape(order, (3, 1, 2)),
    )
    assert expected in ops(graph)
    assert ("Gather" in ops(graph)) == (expected == "Gather")


def test_what_is_joined_to_a_list_is_joined_to_its_result() -> None:
    graph = unified(
        """(float[2,3] x, float[2,3] v, float[2,3] w) => (float y, float z) {
        a = Concat<axis=1>(x, v)  y = Neg(a)
        b = Concat<axis=1>(x, v, w)  z = Neg(b) }"""
    )
    first, second = graph.of(["Concat"])
    assert [len(first.inputs), len(second.inputs)] == [2, 2]
    assert second.inputs[0] is first.output


def test_another_axis_or_order_is_no_such_list() -> None:
    graph = unified(
        """(float[2,2] x, float[2,2] v, float[2,2] w) => (float y, float z, float u) {
        a = Concat<axis=1>(x, v)  y = Neg(a)
        b = Concat<axis=0>(x, v, w)  z = Neg(b)
        c = Concat<axis=1>(v, x, w)  u = Neg(c) }"""
    )
    assert sorted(len(node.inputs) for node in graph.of(["Concat"])) == [2, 3, 3]


def rolled(second: str = "x", axis: int = 1) -> Graph:
    """The halves of one axis, joined the other way round; then two and four of another."""
    return unified(
        f"""(float[2,4,6] x, float[2,4,6] v) => (float y) {{
        head = Slice(x, none, two, one)  tail = Slice({second}, two, all, one)
        a = Concat<axis={axis}>(tail, head)
        left = Slice(x, none, four, two)  right = Slice(x, four, all, two)
        b = Concat<axis=2>(right, left)  y = Concat<axis={axis}>(a, b) }}""",
        none=[0],
        one=[1],
        two=[2],
        four=[4],
        all=[1 << 40],
    )


def test_parts_that_change_places_are_a_roll() -> None:
    first, second = rolled().of(["Roll"])
    assert first.attrs == {"axes": (1,), "shifts": (-2,)}
    assert second.attrs == {"axes": (2,), "shifts": (2,)}


def test_parts_of_two_tensors_are_no_roll() -> None:
    assert ops(rolled(second="v")).count("Roll") == 1


def test_parts_that_are_joined_elsewhere_are_no_roll() -> None:
    graph = unified(
        """(float[2,4,4] x) => (float y) {
        head = Slice(x, none, two, one)  tail = Slice(x, two, four, one)
        y = Concat<axis=2>(tail, head) }""",
        none=[0],
        one=[1],
        two=[2],
        four=[4],
    )
    assert "Roll" not in ops(graph)


@pytest.mark.parametrize(("axis", "expected"), [(2, ["Roll"]), (1, ["Roll", "Roll"])])
def test_rolls_along_two_axes_are_one(axis: int, expected: list[str]) -> None:
    graph = unified(
        f"""(float[2,4,4] x) => (float y) {{
        head = Slice(x, none, one, one)  tail = Slice(x, one, four, one)
        a = Concat<axis=1>(tail, head)
        top = Slice(a, none, three, where)  rest = Slice(a, three, four, where)
        y = Concat<axis={axis}>(rest, top) }}""",
        none=[0],
        one=[1],
        three=[3],
        four=[4],
        where=[axis],
    )
    assert ops(graph) == expected
