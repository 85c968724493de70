"""The rule for Resize."""

from typing import Any

import numpy as np
import pytest

from tests.reader.test_rules import only, unified

# Read by tests.support.rules_table.
COVERS = {"ResizeBySize"}


def resize(node: str, **weights: Any) -> list[tuple[str, int]]:
    opset = 18 if "axes" in node else 17
    graph = unified(f"(float[1,2,4,6] x) => (float y) {{ y = {node} }}", opset=opset, **weights)
    return [(node.op, len(node.inputs)) for node in graph]


@pytest.mark.parametrize(
    "node",
    [
        'Resize<mode="linear">(x, , , sizes)',
        'Resize<mode="linear", coordinate_transformation_mode="half_pixel">(x, , scales)',
        'Resize<mode="linear", coordinate_transformation_mode="pytorch_half_pixel">(x, , , sizes)',
    ],
)
def test_a_bilinear_resize_goes_by_its_shape(node: str) -> None:
    assert resize(node, sizes=[1, 2, 6, 9], scales=np.full(4, [1, 1, 1.5, 1.5])) == [("Resize", 1)]


@pytest.mark.parametrize("size", ["(x, , , sizes)", "(x, , scales)"])
def test_a_resize_with_aligned_corners_says_so(size: str) -> None:
    graph = unified(
        f"""(float[1,2,4,6] x) => (float y) {{
            y = Resize<mode="linear", coordinate_transformation_mode="align_corners">{size}
        }}""",
        sizes=[1, 2, 6, 9],
        scales=np.full(4, [1, 1, 1.5, 1.5]),
    )
    stated = {"by_sizes": 1} if "sizes" in size else {}
    assert only(graph, "Resize").attrs == {"mode": "align_corners", **stated}


@pytest.mark.parametrize(
    "node",
    [
        'Resize<mode="nearest">(x, , , sizes)',
        'Resize<mode="cubic">(x, , , sizes)',
        'Resize<mode="linear", coordinate_transformation_mode="asymmetric">(x, , , sizes)',
        'Resize<mode="linear">(x, , uneven)',
        'Resize<mode="linear", coordinate_transformation_mode="align_corners">(x, , uneven)',
        'Resize<mode="linear", coordinate_transformation_mode="pytorch_half_pixel">(x, , , flat)',
        'Resize<mode="linear", axes=[2,3]>(x, , both)',
        'Resize<mode="linear", axes=[2,3], keep_aspect_ratio_policy="not_larger">(x, , , pair)',
    ],
)
def test_another_resize_stays(node: str) -> None:
    shapes: dict[str, Any] = {
        "sizes": [1, 2, 6, 9],
        "flat": [1, 2, 1, 9],
        "uneven": np.array([1, 1, 1.6, 1.6]),
        "both": [1.5, 1.5],
        "pair": [6, 7],
    }
    ((op, inputs),) = resize(node, **shapes)
    assert op == "Resize" and inputs > 1


def test_a_resize_of_channels_stays() -> None:
    ((_, inputs),) = resize('Resize<mode="linear">(x, , , sizes)', sizes=[1, 4, 4, 6])
    assert inputs > 1
