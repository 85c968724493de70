"""ONNX files written by tf2onnx: what it does not know, does inexactly, or loses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnx2mvit
from onnx2mvit.errors import UnsupportedError
from tests.support.graphs import model, save

pytest.importorskip("tf2onnx")

TOKENS = """g (float[N,3,32,32] pixels) => (float[N,10] scores) {
    c = Conv<strides=[8,8]>(pixels, w, b)  r = Reshape(c, shape)  t = Transpose<perm=[0,2,1]>(r)
    p = Add(t, positions)  h = MatMul(p, v)  g = Gelu(h)
    m = ReduceMean<keepdims=0>(g, axis)  scores = Gemm<transB=1>(m, u, d)
}"""


def test_an_onnx_file_may_hold_what_tf2onnx_does_not_know(tmp_path: Path) -> None:
    """The error function of an exact GELU, and constants that are added: a ViT has both."""
    weights: dict[str, Any] = {"w": (8, 3, 8, 8), "b": (8,), "v": (8, 12), "u": (10, 12)}
    weights |= {"d": (10,), "positions": (1, 16, 8)}
    weights |= {"shape": np.array([0, 8, 16]), "axis": np.array([1])}
    path = save(model(TOKENS, opset=20, **weights), tmp_path, "tokens.onnx")
    folder = onnx2mvit.convert(path, tmp_path, verify=False).folder
    made = onnx2mvit.deploy(folder, tmp_path / "deployed", format="onnx", onnx=path, inputs=3)
    assert made.passed
    assert made.comparison.against == "onnxruntime on tokens.onnx"


def test_an_onnx_file_resizes_to_the_very_pixel(tmp_path: Path) -> None:
    """6 times the float32 of 5/6 is less than 5; a MobileViT block at odd sizes has that."""
    text = """g (float[2,3,6,6] pixels) => (float[2,6,5,5] y) {
        c = Conv(pixels, w, b)  p = MaxPool<kernel_shape=[2,2]>(c)
        r = Resize<mode="linear", coordinate_transformation_mode="half_pixel">(c, , , sizes)
        y = Concat<axis=1>(p, r)
    }"""
    made = model(text, w=(3, 3, 1, 1), b=(3,), sizes=np.array([2, 3, 5, 5]))
    path = save(made, tmp_path, "odd.onnx")
    folder = onnx2mvit.convert(path, tmp_path, verify=False).folder
    assert onnx2mvit.deploy(folder, tmp_path / "deployed", format="onnx", inputs=2, batch=2).passed


def test_what_tf2onnx_cannot_write_is_refused_with_a_reason(tmp_path: Path) -> None:
    import keras

    inputs = keras.Input((8, 8, 4))
    for outputs, reason in (
        (keras.ops.erfinv(keras.ops.tanh(inputs)), "Erfinv"),
        (keras.layers.Conv2D(4, 3, groups=2)(inputs), "grouped convolution"),
        (inputs + keras.ops.ones((8, 8, 4)), "constants for inputs"),
    ):
        keras.Model(inputs, outputs, name="net").save(tmp_path / "net.keras")
        with pytest.raises(UnsupportedError, match=f"tf2onnx cannot write this model.*{reason}"):
            onnx2mvit.deploy(tmp_path / "net.keras", tmp_path / "out", format="onnx")
        assert not (tmp_path / "out").exists()
