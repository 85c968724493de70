"""Rules for images whose channels are moved last and back, and that are written in place."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.graphs import graph

COVERS = {"ScaleOfImage", "NormOfMeanImage", "ScatterOfAll"}

MOVED = "a = Sin(x)  m = Mul(g, a)  y = Transpose<perm=[0,3,1,2]>(m)"
NORM = """
    m = ReduceMean<keepdims=1>(x, space)  a = Transpose<perm=[0,2,3,1]>(m)
    n = LayerNormalization<axis=-1>(a, g, b)  t = Transpose<perm=[0,3,1,2]>(n)
    y = Flatten(t)
"""


def ops(folder: Path, nodes: str, image: str, **weights: Any) -> list[str]:
    return [
        node.op
        for node in graph(folder, f"g (float[{image}] x) => (float y) {{ {nodes} }}", **weights)
    ]


@pytest.mark.parametrize(
    ("nodes", "gamma", "after"),
    [
        (MOVED, (4,), ["Sin", "Transpose", "Mul"]),
        (MOVED, (6, 4), ["Sin", "Mul", "Transpose"]),
        (MOVED.replace("0,3,1,2", "0,3,2,1"), (4,), ["Sin", "Mul", "Transpose"]),
    ],
)  # fmt: skip
def test_an_image_is_scaled_after_its_channels_are_moved(
    tmp_path: Path, nodes: str, gamma: tuple[int, ...], after: list[str]
) -> None:
    assert ops(tmp_path, nodes, "2,5,6,4", g=gamma) == after


def test_the_factors_stay_with_their_channels(tmp_path: Path) -> None:
    found = graph(tmp_path, f"g (float[2,5,6,4] x) => (float y) {{ {MOVED} }}", g=[1.0, 2, 3, 4])
    (gamma,) = (v.const for node in found for v in node.inputs if v and v.const is not None)
    assert gamma.shape == (4, 1, 1) and gamma.ravel().tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        (("Flatten(t)", "Flatten(t)"), True),
        (("axis=-1", "axis=3"), True),
        (("axis=-1", "axis=2"), False),
        (("Flatten(t)", "Relu(t)"), False),
    ],
    ids=["", "axis from the front", "of two axes", "no vector"],
)
def test_what_normalizes_a_pixel_normalizes_a_vector(
    tmp_path: Path, change: tuple[str, str], holds: bool
) -> None:
    shape = (1, 4) if "axis=2" in change else (4,)
    weights = {"space": [2, 3], "g": shape, "b": shape}
    found = ops(tmp_path, NORM.replace(*change), "2,4,5,6", **weights)
    assert (found == ["ReduceMean", "LayerNormalization"]) == holds


SUM = "y = ScatterND(x, everywhere, u)"


@pytest.mark.parametrize(
    ("nodes", "indices", "after"),
    [
        (SUM, [[0], [1], [2]], ["Sin"]),
        (SUM, [[0], [2], [1]], ["Sin", "ScatterND"]),
        (SUM.replace("ScatterND", 'ScatterND<reduction="add">'), [[0], [1], [2]],
         ["Sin", "ScatterND"]),
    ],
)  # fmt: skip
def test_what_is_written_everywhere_is_all(
    tmp_path: Path, nodes: str, indices: list[list[int]], after: list[str]
) -> None:
    assert ops(tmp_path, f"u = Sin(x)  {nodes}", "3,4,2,2", everywhere=indices) == after
