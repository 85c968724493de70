"""Inputs and outputs of every kind: converted, proven, and right in Keras at other batches."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import onnx2mvit
from onnx2mvit.runtimes import OnnxRuntimeRunner
from onnx2mvit.verifier import INPUTS
from tests.support.graphs import model, save

CONV, MEAN = "Conv<pads=[1,1,1,1]>", "ReduceMean<axes=[2,3],keepdims=0>"
WEIGHTS: dict[str, Any] = {
    "w": (5, 3, 3, 3),
    "k": (5, 4),
    "v": (6, 5),
    "table": (20, 6),
    "zero": np.zeros(1, np.float32),
}
# Inputs, outputs, nodes.
KINDS: dict[str, tuple[str, str, str]] = {
    "an image and a vector": (
        "float[N,3,8,6] rgb, float[N,6] meta",
        "float[a,b] y",
        f"c = {CONV}(rgb, w)  i = {MEAN}(c)  m = MatMul(meta, v)  s = Mul(i, m)  y = MatMul(s, k)",
    ),
    "tokens and a mask": (
        "int64[N,7] ids, bool[N,7] mask",
        "float[a,b,c] hidden, float[d,e] pooled",
        "e = Gather(table, ids)  f = Cast<to=1>(mask)  u = Unsqueeze(f, two)  hidden = Mul(e, u)"
        "  pooled = ReduceMean<axes=[1],keepdims=0>(hidden)",
    ),
    "a batch that comes last, and a mask": (
        "uint8[N,8,6,3] bytes",
        "float[a,b] last, bool[c,d,e,f] positive",
        f"f = Cast<to=1>(bytes)  t = Transpose<perm=[0,3,1,2]>(f)  c = {CONV}(t, w)"
        f"  m = {MEAN}(c)  last = Transpose<perm=[1,0]>(m)  positive = Greater(c, zero)",
    ),
    "an output twice, and one that is the input": (
        "float[N,6] x",
        "float[N,b] z, float[N,b] again, float[N,6] same",
        "z = MatMul(x, v)  again = Identity(z)  same = Identity(x)",
    ),
}  # fmt: skip


@pytest.fixture(params=KINDS)
def converted(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, onnx2mvit.Conversion]:
    inputs, outputs, nodes = KINDS[request.param]
    used = {
        name: array for name, array in WEIGHTS.items() if f"{name})" in nodes or f"{name}," in nodes
    }
    made = model(f"g ({inputs}) => ({outputs}) {{ {nodes} }}", opset=17, two=[2], **used)
    file = save(made, tmp_path)
    return file, onnx2mvit.convert(file, tmp_path, name="net", inputs=2)


def drawn(name: str, dtype: str, shape: list[int]) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(len(name))
    made = rng.normal(size=shape) if dtype == "float32" else rng.integers(0, 2, shape)
    return made.astype(dtype)


def test_names_order_and_answers_are_the_file_s(
    converted: tuple[Path, onnx2mvit.Conversion],
) -> None:
    file, result = converted
    assert result.passed
    report, session = result.report, OnnxRuntimeRunner(file)
    assert [each["name"] for each in report["inputs"]] == session.inputs
    assert [each["name"] for each in report["outputs"]] == session.outputs
    assert [tensor.name for tensor in result.model.inputs] == session.inputs
    if len(session.outputs) > 1:
        assert result.model.output_names == session.outputs
    for batch in (1, 3):
        feed = {
            each["name"]: drawn(
                each["name"], each["dtype"], [n or batch for n in each["file_shape"]]
            )
            for each in report["inputs"]
        }
        theirs = session(feed)
        given = [turned(feed[each["name"]], each) for each in report["inputs"]]
        answers = result.model(given if len(given) > 1 else given[0], training=False)
        for each, ours in zip(report["outputs"], keras.tree.flatten(answers), strict=True):
            expected = turned(theirs[each["name"]], each)
            np.testing.assert_allclose(
                keras.ops.convert_to_numpy(ours), expected, rtol=1e-4, atol=1e-5
            )


def turned(array: np.ndarray[Any, Any], entry: dict[str, Any]) -> np.ndarray[Any, Any]:
    """A tensor of the file in the order that the report says the model has it in."""
    return array.transpose([entry["file_axes"].index(name) for name in entry["axes"]])


def test_where_images_are_mixed_the_batch_is_fixed_and_the_verdict_says_so(tmp_path: Path) -> None:
    nodes = f"c = {CONV}(x, w)  y = Reshape(c, rows)"
    made = model(
        f"g (float[4,3,8,6] x) => (float[a,b,c,d,e] y) {{ {nodes} }}",
        opset=17,
        w=(5, 3, 3, 3),
        rows=[2, 2, 5, 8, 6],
    )
    result = onnx2mvit.convert(save(made, tmp_path), tmp_path, name="net", inputs=INPUTS)
    assert result.passed
    assert result.report["verification"]["batch"] == 4
    assert result.report["verification"]["float64"] is None
    assert result.model.output_shape == (2, 2, 8, 6, 5)
