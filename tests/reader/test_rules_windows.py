"""The rule for adaptive pooling: means of windows are products with constants."""

from typing import Any

import numpy as np
import pytest

from onnx2mvit.reader.rules import unify
from tests.reader.test_rules import ops, unified
from tests.support.graphs import model
from tests.support.run_graph import plain

# Read by tests.support.rules_table.
COVERS = {"WindowsAreWeights"}

IMAGE = "float[2,3,7,8] x"
# Of 7 rows PyTorch makes two windows of four, of 8 columns three of three and less.
ROWS = np.array([[0, 1, 2, 3], [3, 4, 5, 6]])
COLUMNS = np.array([[0, 1, 2], [2, 3, 4], [5, 6, 7]])
BEYOND = np.array([[False, False, False], [False, False, False], [True, False, False]])
GATHERED = """t = Transpose<perm=[2,3,0,1]>(x)  g = GatherND(t, grid)
w = Transpose<perm=[4,5,0,1,2,3]>(g)\n"""


def grid(rows: Any = ROWS, columns: Any = COLUMNS) -> Any:
    shape = (*rows.shape, *columns.shape)
    pair = rows[:, :, None, None], columns[None, None]
    return np.stack([np.broadcast_to(each, shape) for each in pair], -1)


def mean(gathered: str = GATHERED) -> str:
    nodes = f"{gathered} y = ReduceMean<keepdims=0>(w, axes)"
    return f"({IMAGE}) => (float[2,3,2,3] y) {{ {nodes} }}"


def summed(skipped: tuple[int, int] | None = None, zero: str = "zero") -> str:
    """Every pixel of the windows selected and added, as torch's decomposition does it."""
    nodes = f"{GATHERED} v = Where(beyond, {zero}, w)\n"
    for row in range(4):
        nodes += f"r{row} = Gather<axis=3>(v, i{row})\n"
    places = [place for place in np.ndindex(4, 3) if place != skipped]
    for number, (row, column) in enumerate(places):
        nodes += f"p{number} = Gather<axis=4>(r{row}, i{column})\n"
        before = f"s{number - 1}" if number > 1 else "p0"
        nodes += f"s{number} = Add({before}, p{number})\n" if number else ""
    nodes += f"y = Div(s{len(places) - 1}, counts)"
    return f"({IMAGE}) => (float[2,3,2,3] y) {{ {nodes} }}"


CONSTANTS: dict[str, Any] = {
    **{f"i{index}": np.array(index) for index in range(4)},
    "grid": grid(),
    "beyond": BEYOND,
    "zero": np.float32(0),
    "one": np.float32(1),
    "counts": np.array([[12, 12, 8], [12, 12, 8]], np.float32),
}


def test_the_mean_of_windows_is_two_products() -> None:
    found = unified(mean(), opset=18, grid=grid(), axes=[3, 5])
    assert ops(found) == ["MatMul", "MatMul"]


def test_a_sum_of_their_pixels_divided_by_their_number_is_as_well() -> None:
    found = unified(summed(), opset=18, **CONSTANTS)
    assert ops(found) == ["MatMul", "MatMul"]


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (mean(), {"grid": np.flip(grid(), 0).swapaxes(1, 3).reshape(2, 4, 3, 3, 2)}),  # no product
        (mean(GATHERED.replace("[2,3,0,1]", "[2,3,1,0]").replace("[4,5,", "[5,4,")), {}),
        (summed(skipped=(1, 2)), {}),
        (summed(zero="one"), {}),
        (summed(), {"counts": np.full((2, 3), 12, np.float32)}),
    ],
)
def test_what_is_no_mean_of_windows_stays(body: str, changed: dict[str, Any]) -> None:
    constants = CONSTANTS | {"axes": [3, 5]} | changed
    used = {name: value for name, value in constants.items() if name in body.replace("(", " ")}
    made = model(f"g {body}", opset=18, **used)
    graph = plain(made)
    unify(graph)
    assert "GatherND" in ops(graph) and "MatMul" not in ops(graph)
