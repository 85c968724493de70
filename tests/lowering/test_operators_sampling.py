"""GridSample: pixels at places that are computed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.operators import converted, network, reason

IMAGE = "float[N,2,9,12] x"


def test_a_spatial_transformer_answers_right(tmp_path: Path) -> None:
    nodes = """
        c = Conv<kernel_shape=[3,3]>(x, w)  g = GlobalAveragePool(c)  f = Flatten(g)
        t = Gemm(f, u, b)  theta = Reshape(t, six)  turned = Transpose<perm=[0,2,1]>(theta)
        flat = MatMul(places, turned)  grid = Reshape(flat, four)
        a = GridSample<mode="bilinear", padding_mode="border", align_corners=1>(x, grid)
        d = GridSample<mode="bicubic", padding_mode="reflection">(x, grid)
        y = Conv<kernel_shape=[3,3]>(a, w)
    """
    down, across = np.meshgrid(np.linspace(-1.4, 1.2, 7), np.linspace(-1.3, 1.5, 5), indexing="ij")
    places = np.stack([across, down, np.ones_like(down)], axis=-1).reshape(1, 35, 3)
    weights: dict[str, Any] = {
        "w": (4, 2, 3, 3),
        "u": np.eye(4, 6) * 0.05,
        "b": [1.1, 0.2, 0.0, 0.3, 0.9, 0.1],
    }
    shapes: dict[str, Any] = {"six": [0, 2, 3], "four": [-1, 7, 5, 2], "places": places}
    made = converted(nodes, tmp_path, image=IMAGE, outputs="d y", opset=17, **weights, **shapes)
    assert 'grid_sample(inputs, x, padding="border", align_corners=True)' in made.lines
    assert 'grid_sample(inputs, x, mode="cubic", padding="reflection")' in made.lines
    assert made.report["sizes"]["by_rule"].startswith("any height and width")


def test_a_volume_is_refused(tmp_path: Path) -> None:
    nodes = "v = Reshape(x, five)  y = GridSample(v, places)"
    found = reason(nodes, tmp_path, image=IMAGE, five=[0, 2, 1, 9, 12], places=(1, 2, 3, 3, 3))
    assert found == "its input has rank 5, not 4"


@pytest.mark.parametrize("corners", [0, 1])
def test_a_grid_of_a_matrix_for_each_image(corners: int, tmp_path: Path) -> None:
    nodes = f"""
        g = ReduceMean<keepdims=0>(x, space)  t = Gemm(g, u, b)  theta = Reshape(t, six)
        s = Shape<start=0, end=1>(x)  size = Concat<axis=0>(s, rest)
        grid = AffineGrid<align_corners={corners}>(theta, size)
        y = GridSample<mode="linear", align_corners={corners}>(x, grid)
    """
    weights: dict[str, Any] = {"u": np.eye(2, 6) * 0.3, "b": [1.1, 0.2, 0.0, 0.3, 0.9, 0.1]}
    shapes: dict[str, Any] = {"space": [2, 3], "six": [0, 2, 3], "rest": [2, 7, 5]}
    made = converted(nodes, tmp_path, image=IMAGE, **weights, **shapes)
    assert "affine_grid(" in made.lines
    assert made.report["sizes"]["by_rule"].startswith("any height and width")


def test_a_grid_of_the_images_own_size_is_of_that_size(tmp_path: Path) -> None:
    nodes = """g = ReduceMean<keepdims=0>(x, space)  t = Gemm(g, u)  theta = Reshape(t, six)
        grid = AffineGrid(theta, size)  y = GridSample(x, grid)"""
    shapes: dict[str, Any] = {"space": [2, 3], "six": [0, 2, 3], "size": [1, 2, 9, 12]}
    assert network(nodes, tmp_path, image=IMAGE, u=(2, 6), **shapes).fixed_by is not None


def test_a_line_of_corners_is_refused(tmp_path: Path) -> None:
    nodes = """g = ReduceMean<keepdims=0>(x, space)  t = Gemm(g, u)  theta = Reshape(t, six)
        y = AffineGrid<align_corners=1>(theta, size)"""
    shapes: dict[str, Any] = {"space": [2, 3], "six": [0, 2, 3], "size": [1, 2, 1, 12]}
    found = reason(nodes, tmp_path, image=IMAGE, u=(2, 6), **shapes)
    assert found == "corners of a single pixel are at no certain place"
