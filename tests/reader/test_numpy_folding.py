"""Constants that numpy computes are those that onnxruntime computes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx2mvit.reader import read
from onnx2mvit.runtimes.onnxruntime_runner import OnnxRuntimeRunner
from tests.support.graphs import model, save

INDICES = np.array([[0, 1], [-1, 2], [0, 1]])
SCATTERED = {"i": INDICES, "u": (3, 4)}
ELEMENTS = {"i": np.array([[0, 2, -1, 1]]), "u": (1, 4)}


@pytest.mark.parametrize(
    ("node", "constants"),
    [
        ("c = GatherND(t, i)", {"i": INDICES}),
        ("c = ScatterND(t, i, u)", SCATTERED | {"i": INDICES[:2], "u": (2, 4)}),
        *((f'c = ScatterND<reduction="{how}">(t, i, u)', SCATTERED) for how in ("add", "mul")),
        *((f'c = ScatterND<reduction="{how}">(t, i, u)', SCATTERED) for how in ("min", "max")),
        ("c = ScatterElements(s, i, u)", ELEMENTS),
        ("c = ScatterElements<axis=-1>(s, i, u)", ELEMENTS | {"i": np.array([[3, 2, -4, 1]])}),
        ('c = ScatterElements<axis=1, reduction="add">(s, i, u)', ELEMENTS),
        ("c = BatchNormalization<epsilon=0.1>(t, g, b, m, v)", {}),
        ("c, d, e = BatchNormalization<epsilon=0.1, training_mode=1>(t, g, b, m, v)", {}),
    ],
)
def test_a_constant_is_onnxruntimes(tmp_path: Path, node: str, constants: dict[str, Any]) -> None:
    weights = {"t": (2, 3, 4), "s": (3, 4), **constants}
    if "BatchNormalization" in node:
        weights |= dict.fromkeys("gbm", (3,)) | {"v": np.array([0.5, 1, 2], np.float32)}
    used = {name: array for name, array in weights.items() if name in node.partition("(")[2]}
    made = model(f"g (float[1] x) => (float y) {{ {node} y = Mul(c, x) }}", opset=18, **used)
    file = save(made, tmp_path)
    (left,) = read(file)
    (constant,) = (v.const for v in left.inputs if v is not None and v.const is not None)
    answer = OnnxRuntimeRunner(file, optimized=False)({"x": np.ones(1, np.float32)})["y"]
    assert np.abs(constant - answer).max() <= 1e-6


def test_standardized_weights_are_those_of_a_convolution(tmp_path: Path) -> None:
    """NFNet's by the TorchScript exporter: normalized in training, as a batch of one image."""
    made = model(
        """g (float[2,3,8,8] x) => (float y) {
            n, a, b = BatchNormalization<training_mode=1, momentum=1.0>(w, g, z, m, v)
            k = Reshape(n, shape)  y = Conv(x, k) }""",
        w=(1, 4, 27), g=(4,), z=np.zeros(4, np.float32), m=(4,), v=np.ones(4, np.float32),
        shape=[4, 3, 3, 3],
    )  # fmt: skip
    (conv,) = read(save(made, tmp_path))
    kernel = conv.inputs[1].const if conv.inputs[1] is not None else None
    assert conv.op == "Conv" and kernel is not None
    assert np.allclose(kernel.mean((1, 2, 3)), 0, atol=1e-6)
