"""Training by one kernel for what the backend writes as many: the same numbers, stock layers.

On torch it is tried in test_backends.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import onnx2mvit
from onnx2mvit.builder import in_float64
from onnx2mvit.errors import UnsupportedError, UsageError


def network(activation: str = "silu", **norm: Any) -> keras.Model:
    """Convolutions with their normalization, one in a nested model, and a normalized head."""
    keras.utils.set_random_seed(0)
    inside = keras.Input((8, 8, 6))
    y = layers.BatchNormalization(name="bn", **norm)(layers.Conv2D(4, 3, use_bias=False)(inside))
    block = keras.Model(inside, layers.Activation(activation)(y), name="block")
    x = keras.Input((8, 8, 3))
    y = layers.BatchNormalization(epsilon=1e-5, momentum=0.9)(
        layers.Conv2D(6, 1, use_bias=False)(x)
    )
    y = layers.GlobalAveragePooling2D()(block(layers.Activation("relu")(y)))
    y = layers.Dense(5)(layers.BatchNormalization(scale=False)(y))
    return keras.Model(x, y)


def compiled(model: keras.Model) -> keras.Model:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss)
    return model


def batches(count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield rng.normal(1, 2, (16, 8, 8, 3)).astype("float32"), rng.integers(0, 5, 16)


def gradients(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with tf.GradientTape() as tape:
        value = loss(labels, model(images, training=True))
    found = tape.gradient(value, model.trainable_variables)
    return np.concatenate([np.ravel(each) for each in found])


def share(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def flat(arrays: list[Any]) -> np.ndarray:
    return np.concatenate([np.ravel(each) for each in arrays])


def test_a_hundred_steps_give_the_same_weights_and_statistics() -> None:
    fast, stock = compiled(network()), compiled(network())
    worst = 0.0
    with onnx2mvit.fast_training(fast):
        for images, labels in batches(100):
            fast.set_weights(stock.get_weights())  # what is rounded in a step is not to grow
            fast.train_on_batch(images, labels)
            stock.train_on_batch(images, labels)
            worst = max(worst, share(flat(fast.get_weights()), flat(stock.get_weights())))
            for ours, theirs in zip(
                fast.non_trainable_weights, stock.non_trainable_weights, strict=True
            ):
                worst = max(worst, share(np.array(ours), np.array(theirs)))
    assert 0 < worst < 1e-6


@pytest.mark.parametrize("scale", [1, 1e-3])  # the variance is as small as epsilon, then
def test_gradients_are_as_near_to_those_of_float64_as_keras_own(scale: float) -> None:
    fast, stock = network(), network()
    wide = in_float64(network())
    fast_off, stock_off = [], []
    for images, labels in batches(10):
        pixels = scale * images
        right = gradients(wide, pixels.astype("float64"), labels)
        with onnx2mvit.fast_training(fast):
            fast_off.append(share(gradients(fast, pixels, labels), right))
        stock_off.append(share(gradients(stock, pixels, labels), right))
    assert np.mean(fast_off) < 1.5 * np.mean(stock_off)


def test_what_is_saved_meanwhile_and_afterwards_is_stock(tmp_path: Path) -> None:
    model = compiled(network())
    ((images, labels),) = batches(1)
    with onnx2mvit.fast_training(model):
        model.fit(images, labels, verbose=0)
        answers = model.predict(images, verbose=0)
        model.save(tmp_path / "meanwhile.keras")
        clone = keras.models.clone_model(model)
    model.save(tmp_path / "afterwards.keras")
    for file in ("meanwhile.keras", "afterwards.keras"):
        again = keras.models.load_model(tmp_path / file)
        np.testing.assert_array_equal(again.predict(images, verbose=0), answers)
    assert not any("call" in vars(layer) for each in (model, clone) for layer in each.layers)


def test_a_model_that_was_fitted_before_is_fast_meanwhile_and_stock_afterwards() -> None:
    model = compiled(network())
    ((images, labels),) = batches(1)
    start = model.get_weights()

    def step() -> np.ndarray:
        model.set_weights(start)
        model.optimizer.build(model.trainable_variables)
        for variable in model.optimizer.variables[2:]:
            variable.assign(np.zeros(variable.shape))
        model.train_on_batch(images, labels)
        return flat(model.get_weights())

    stock = step()
    with onnx2mvit.fast_training(model):
        fast = step()
    assert share(fast, stock) < 1e-6
    assert not np.array_equal(fast, stock)  # it is another kernel
    np.testing.assert_array_equal(step(), stock)


def compiled_by_xla(model: keras.Model, images: np.ndarray) -> int:
    """So many functions are, in a step of a model."""
    step = tf.function(lambda x: tf.gradients(tf.reduce_sum(model(x, training=True)), x))
    graph = step.get_concrete_function(tf.constant(images)).graph.as_graph_def()
    return sum(function.attr["_XlaMustCompile"].b for function in graph.library.function)


@pytest.mark.parametrize(
    ("activation", "one_kernel"),
    [("silu", True), ("gelu", True), ("hard_swish", True), ("relu6", False), ("mish", False)],
)
def test_the_gradient_of_an_activation_is_one_kernel_where_that_is_faster(
    activation: str, one_kernel: bool
) -> None:
    ((images, labels),) = batches(1)
    fast, stock = network(activation), network(activation)
    assert compiled_by_xla(stock, images) == 0
    with onnx2mvit.fast_training(fast):
        assert compiled_by_xla(fast, images) == one_kernel
        answers = fast.predict(images, verbose=0)
        ours = gradients(fast, images, labels)
    np.testing.assert_array_equal(answers, stock.predict(images, verbose=0))
    assert share(ours, gradients(stock, images, labels)) < 1e-5
    assert compiled_by_xla(fast, images) == 0


def test_an_activation_of_ones_own_or_a_subclass_trains_as_ever() -> None:
    own = type("Own", (layers.Activation,), {})
    x = keras.Input((8, 8, 3))
    model = keras.Model(x, layers.Activation(lambda y: y * y)(own("silu")(x)))
    ((images, _),) = batches(1)
    with onnx2mvit.fast_training(model):
        assert compiled_by_xla(model, images) == 0


@pytest.mark.parametrize("norm", [{"renorm": True}, {"axis": 1}, {"trainable": False}])
def test_other_normalizations_train_as_ever(norm: dict[str, Any]) -> None:
    """With frozen ones, the statistics stay what they are."""
    ((images, labels),) = batches(1)
    fast, stock = network(**norm), network(**norm)
    with onnx2mvit.fast_training(fast):
        ours = gradients(fast, images, labels)
    assert share(ours, gradients(stock, images, labels)) < 1e-5
    for ours, theirs in zip(fast.non_trainable_weights, stock.non_trainable_weights, strict=True):
        np.testing.assert_allclose(np.array(ours), np.array(theirs), rtol=1e-5, atol=1e-7)


def test_half_precision_is_as_keras_has_it() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        fast, stock = network(), network()
    finally:
        keras.config.set_dtype_policy("float32")
    ((images, _),) = batches(1)
    with onnx2mvit.fast_training(fast):
        ours = fast(images, training=True)
    assert ours.dtype == "bfloat16"
    theirs = stock(images, training=True)
    np.testing.assert_allclose(np.array(ours, "float32"), np.array(theirs, "float32"), atol=0.05)


def test_jax_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    refused = pytest.raises(UnsupportedError, match="on TensorFlow and torch, not on jax")
    with refused, onnx2mvit.fast_training(network()):
        pass


def test_what_is_no_model_is_refused() -> None:
    what: Any = []
    with (
        pytest.raises(UsageError, match="takes a Keras model, not list"),
        onnx2mvit.fast_training(what),
    ):
        pass
