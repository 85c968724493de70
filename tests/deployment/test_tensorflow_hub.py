"""SavedModels are loaded by TensorFlow Hub, as classifiers and for their feature vectors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnx2mvit
from onnx2mvit.runtimes import SavedModelRunner

pytestmark = pytest.mark.xdist_group("tensorflow-hub")

SIZE = (32, 48)


@pytest.fixture(scope="module")
def saved(
    small: tuple[Path, onnx2mvit.Conversion], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, Path]:
    """A model for images of SIZE, and what it is as a SavedModel."""
    folder = small[1].folder
    made = onnx2mvit.deploy(
        folder, tmp_path_factory.mktemp("d"), format="saved_model", image_size=SIZE, inputs=2
    )
    assert made.passed and set(made.report["signatures"]) == {
        *("serving_default", "features", "feature_vector")
    }
    from onnx2mvit.builder import build

    return build(folder, folder.name, input_shape=(*SIZE, 3)), made.file


def images(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).random((count, *SIZE, 3), np.float32)


def by_the_head(model: Any, vectors: Any) -> np.ndarray:
    """What the last linear layer makes of the vectors that it reads."""
    kernel, bias = model.layers[-1].get_weights()
    return np.asarray(np.asarray(vectors) @ kernel + bias)


def test_feature_vectors_are_what_the_last_linear_layer_reads(saved: tuple[Any, Path]) -> None:
    model, file = saved
    vectors = SavedModelRunner(file, "feature_vector")(images())["feature_vector"]
    expected = model.predict(images(), verbose=0)
    np.testing.assert_allclose(by_the_head(model, vectors), expected, atol=1e-5)


def test_what_is_loaded_is_called(saved: tuple[Any, Path]) -> None:
    import tensorflow

    model, file = saved
    loaded = tensorflow.saved_model.load(str(file))
    expected = model.predict(images(), verbose=0)
    np.testing.assert_allclose(loaded(images()), expected, atol=1e-5)
    assert len(loaded.variables) == len(model.variables)
    assert len(loaded.trainable_variables) == len(model.trainable_variables)
    moving = {id(each) for each in loaded.trainable_variables}
    statistics = [each for each in loaded.variables if id(each) not in moving]
    before = [each.numpy() for each in statistics]
    assert np.abs(loaded(images(), training=True) - expected).max() > 1e-4
    assert any((old != new.numpy()).any() for old, new in zip(before, statistics, strict=True))


@pytest.mark.slow
def test_tensorflow_hub_loads_and_trains_it(saved: tuple[Any, Path]) -> None:
    pytest.importorskip(
        "tensorflow_hub", reason="it is not installed: pip install 'onnx2mvit[tensorflow-hub]'"
    )
    import tensorflow_hub
    import tf_keras

    model, file = saved
    expected = model.predict(images(), verbose=0)
    np.testing.assert_allclose(tensorflow_hub.load(str(file))(images()), expected, atol=1e-5)

    classifier = tensorflow_hub.KerasLayer(str(file), trainable=True)
    np.testing.assert_allclose(classifier(images()), expected, atol=1e-5)
    network = tf_keras.Sequential([tf_keras.Input((*SIZE, 3)), classifier])
    before = [each.numpy() for each in classifier.weights]
    network.compile("sgd", "mse")
    network.fit(images(), np.ones_like(expected), verbose=0)
    changed = [
        (old != new.numpy()).any() for old, new in zip(before, classifier.weights, strict=True)
    ]
    assert np.mean(changed) > 0.9

    vector = tensorflow_hub.KerasLayer(
        str(file), signature="feature_vector", output_key="feature_vector"
    )
    np.testing.assert_allclose(by_the_head(model, vector(images())), expected, atol=1e-5)
    layers = [tf_keras.Input((*SIZE, 3)), vector, tf_keras.layers.Dense(3)]
    assert tf_keras.Sequential(layers)(images()).shape == (3, 3)
