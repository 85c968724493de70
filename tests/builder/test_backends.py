"""Every backend of Keras: converting, the forms of the model, training, and what is saved."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from onnx2mvit.exporter.torch_export import Request
from tests.support.networks import exported
from tests.support.torch_mobilevit import Config, MobileViT

SCRIPT = """
import sys
import keras
import numpy as np
import onnx2mvit
from onnx2mvit.builder import build

file, folder, backend = sys.argv[1:]
result = onnx2mvit.convert(file, folder, inputs=2)
assert keras.backend.backend() == backend
assert result.passed, result.report["verification"]
pixels = np.random.default_rng(0).uniform(size=(2, 32, 32, 3)).astype("float32")


def answer(model):
    return keras.ops.convert_to_numpy(model(pixels))


expected = answer(result.model)
scale = np.abs(expected).max()
stored = keras.models.load_model(result.folder / "net.keras")
assert np.abs(answer(stored) - expected).max() <= 1e-5 * scale

tuned = build(result.folder, num_classes=3, dropout=0.1)
tuned.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
before = [keras.ops.convert_to_numpy(each) for each in tuned.trainable_variables]
losses = tuned.fit(pixels, np.arange(2), epochs=1, verbose=0).history["loss"]
assert np.isfinite(losses).all()
after = [keras.ops.convert_to_numpy(each) for each in tuned.trainable_variables]
assert all((a != b).any() for a, b in zip(before, after, strict=True))
"""
ON_TORCH = """
stock, fast = (build(result.folder, num_classes=3) for _ in range(2))
fast.set_weights(stock.get_weights())
for model in (stock, fast):
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
stock.train_on_batch(pixels, np.arange(2))
with onnx2mvit.fast_training(fast):
    fast.train_on_batch(pixels, np.arange(2))
pairs = list(zip(stock.get_weights(), fast.get_weights(), strict=True))
assert any((a != b).any() for a, b in pairs)  # it is another kernel
assert all(np.abs(a - b).max() <= 1e-5 * np.abs(a).max() + 1e-7 for a, b in pairs)
"""
FURTHER = """
assert np.abs(answer(build(result.folder, nested=False)) - expected).max() <= 1e-5 * scale
student = build(result.folder, num_classes=3)
losses = onnx2mvit.distill(student, tuned, pixels, blocks="layer_1.0", verbose=0).history["loss"]
assert np.isfinite(losses).all()
maps = onnx2mvit.features(result.model, ["layer_1.0", "layer_3.1/global_rep.0"])(pixels)
assert [len(each.shape) for each in maps] == [4, 3]
any_size = onnx2mvit.convert(file, folder, name="open_size", image_size="any", verify=False).model
assert np.abs(answer(any_size) - expected).max() <= 1e-5 * scale

tuned.save_weights(f"{folder}/tuned.weights.h5")
again = build(result.folder, num_classes=3, weights=None)
again.load_weights(f"{folder}/tuned.weights.h5")
assert np.abs(answer(again) - answer(tuned)).max() <= 1e-5

policy = keras.config.dtype_policy()
keras.config.set_dtype_policy("mixed_bfloat16")
mixed = build(result.folder)
keras.config.set_dtype_policy(policy)
found = keras.ops.convert_to_numpy(keras.ops.cast(mixed(pixels), "float32"))
assert np.abs(found - expected).max() <= 0.1 * scale
quantized = build(result.folder)
quantized.quantize("int8")
assert np.abs(answer(quantized) - expected).max() <= 0.1 * scale

aware = build(result.folder, num_classes=3)
aware.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
before = [keras.ops.convert_to_numpy(each) for each in aware.trainable_variables]
plain = answer(aware)
with onnx2mvit.quantization_aware(aware):
    assert 0 < np.abs(answer(aware) - plain).max() <= 0.1 * np.abs(plain).max()
    aware.fit(pixels, np.arange(2), verbose=0)
after = [keras.ops.convert_to_numpy(each) for each in aware.trainable_variables]
assert all((a != b).any() for a, b in zip(after, before, strict=True))
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = MobileViT(Config(("hf",)))
    return exported(network, Request("legacy", 17, False, True), tmp_path_factory.mktemp("net"))


def ran(script: str, backend: str, file: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    # Each layer is compiled for one answer: for that, optimising it takes too long.
    environment = {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"}
    environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(file), str(folder), backend],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


# TensorFlow is what all other tests run on; each of these lines has one there.
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_network_is_converted_loaded_and_trained_on(
    backend: str, file: Path, tmp_path: Path
) -> None:
    script = SCRIPT + (ON_TORCH if backend == "torch" else "")
    done = ran(script, backend, file, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_everything_works_on(backend: str, file: Path, tmp_path: Path) -> None:
    done = ran(SCRIPT + FURTHER, backend, file, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
