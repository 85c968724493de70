"""The rules that ByteFormer alone needs: assignment to places, and the mean of what is counted."""

import numpy as np
import pytest

from tests.reader.test_rules import ops, unified

# Read by tests.support.rules_table.
COVERS = {
    "AssignmentByMask",
    "AssignmentToNothing",
    "AssignmentThatIsRead",
    "MeanByCount",
}


def test_what_a_mask_assigns_is_a_choice() -> None:
    body = """(float[2,3] x) => (float[2,3] y) {
        mask = Less(x, number)  n = NonZero(mask)  i = Transpose<perm=[1,0]>(n)
        s = Shape(n)  c = Slice(s, one, two)  v = Expand(number, c)
        y = ScatterND(x, i, v)
    }"""
    graph = unified(body, one=[1], two=[2], number=0.5)
    assert ops(graph) == ["Less", "Where"]


@pytest.mark.parametrize(
    ("places", "left"), [(np.zeros((0, 2), np.int64), 0), (np.zeros((1, 2), np.int64), 1)]
)
def test_what_is_assigned_to_no_place_goes(places: np.ndarray, left: int) -> None:
    values = np.zeros(len(places), np.float32)
    body = "(float[2,3] x) => (float[2,3] y) { s = ScatterND(x, places, values)  y = Relu(s) }"
    assert len(ops(unified(body, places=places, values=values))) == 1 + left


@pytest.mark.parametrize(("last", "left"), [(2, ["Relu"]), (1, None), (3, None)])
def test_what_was_assigned_is_what_is_read(last: int, left: list[str] | None) -> None:
    body = """(float[2,3,4] x, float[2,2,4] part) => (float[2,LAST,4] y) {
        a = Transpose<perm=[1,0,2]>(x)  b = Transpose<perm=[1,0,2]>(part)
        s = ScatterND(a, places, b)  t = Transpose<perm=[1,0,2]>(s)
        c = Slice(t, zero, last, one)  y = Relu(c)
    }""".replace("LAST", str(last))
    graph = unified(body, places=[[0], [1]], zero=[0], last=[last], one=[1])
    assert (ops(graph) == ["Relu"]) == (left is not None)


@pytest.mark.parametrize(("count", "op"), [([[3.0], [3.0]], "ReduceMean"), ([[3.0], [2.0]], "")])
def test_a_sum_over_its_number_is_a_mean(count: list[list[float]], op: str) -> None:
    body = "(float[2,3,4] x) => (float[2,4] y) { s = ReduceSum<keepdims=0>(x, one)  y = Div(s, n) }"
    assert (op or "ReduceSum") in ops(unified(body, one=[1], n=count))
