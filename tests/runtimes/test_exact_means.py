"""onnxruntime's inner tensors are compared with: their means are exact."""

from pathlib import Path

import numpy as np
import pytest

from onnx2mvit.runtimes import OnnxRuntimeRunner
from onnx2mvit.runtimes.exact_means import exact_means
from tests.support.graphs import model, save

MEANS = [
    (11, "GlobalAveragePool(x)"),
    (18, "GlobalAveragePool(x)"),
    (17, "ReduceMean<axes=[2,3]>(x)"),
    (13, "ReduceMean<axes=[-1,-2]>(x)"),
    (20, "ReduceMean(x, axes)"),
    (17, "ReduceMean<axes=[0,2,3]>(x)"),
    (17, "ReduceMean<axes=[3,0,2]>(x)"),
]


@pytest.mark.parametrize(("opset", "mean"), MEANS)
def test_the_reference_has_exact_means(tmp_path: Path, opset: int, mean: str) -> None:
    body = f"g (float[N,2,190,190] x) => (float[N,2,1,1] y) {{ m = {mean}  y = Neg(m) }}"
    file = save(model(body, opset=opset, axes=[2, 3]), tmp_path)
    image = np.full((1, 2, 190, 190), [[[0.3]], [[0.7]]], np.float32)
    answers = OnnxRuntimeRunner(file, inner=["m"])(image)
    assert np.abs(answers["m"].reshape(2) - [0.3, 0.7]).max() <= 1e-6
    assert (answers["y"] == -answers["m"]).all()


@pytest.mark.parametrize(
    "mean", ["ReduceMean<axes=[3]>(x)", "ReduceMean<axes=[1,-1]>(x)", "ReduceMean<keepdims=0>(x)"]
)
def test_other_means_are_left_alone(tmp_path: Path, mean: str) -> None:
    made = model(f"g (float[2,3,4,5] x) => (float y) {{ y = {mean} }}", opset=17)
    before = made.SerializeToString()
    exact_means(made)
    assert made.SerializeToString() == before
