"""Under `quantization_aware` a model answers as its int8 file does, and learns so; it stays stock.

On torch and JAX it is tried in test_backends.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import onnx2mvit
from onnx2mvit.builder.layers import block_finder, layers_by_path
from onnx2mvit.errors import UnsupportedError, UsageError

Array = np.ndarray[Any, Any]


def network() -> keras.Model:
    """A stem, a block with a transformer in it, and a head: every layer that int8 takes."""
    keras.utils.set_random_seed(0)
    inside = keras.Input((16, 8))
    y = layers.LayerNormalization(name="norm")(inside)
    y = layers.Add()([inside, layers.MultiHeadAttention(2, 4, name="attention")(y, y)])
    block = keras.Model(inside, layers.Dense(8, activation="silu", name="mlp")(y), name="block.1")
    image = keras.Input((8, 8, 3), name="image")
    stem = layers.Conv2D(6, 3, 2, padding="same", use_bias=False, name="stem_convolution")
    y = stem(image)
    y = layers.Activation("relu")(layers.BatchNormalization(name="stem_normalization")(y))
    y = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(y)
    y = layers.Conv2D(8, 1, name="expand")(y)
    y = layers.GlobalAveragePooling1D()(block(layers.Reshape((16, 8))(y)))
    model = keras.Model(image, layers.Dense(5, name="head")(y))
    norm = model.get_layer("stem_normalization")
    norm.set_weights(np.linspace([0.5, -1, -1, 0.1], [3, 1, 1, 2], 6).T)
    return model


def images(count: int = 4, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(0.2, 1, (count, 8, 8, 3)).astype(np.float32)


def answers(model: keras.Model, pixels: Array) -> Array:
    return np.asarray(keras.ops.convert_to_numpy(model(pixels, training=False)))


def compiled(model: keras.Model) -> keras.Model:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05), loss, run_eagerly=True)  # tracing takes seconds
    return model


def decibels(ours: Array, theirs: Array) -> float:
    return float(10 * np.log10(np.square(theirs).sum() / np.square(ours - theirs).sum()))


def int8_answers(
    model: keras.Model, pixels: Array, floating: tuple[str, ...] = ()
) -> dict[str, Array]:
    """Those of its LiteRT file, with all that can be in int8 so, but for some blocks."""
    for package in ("ai_edge_litert", "ai_edge_quantizer"):
        pytest.importorskip(package)
    from onnx2mvit.deployment import describe_model
    from onnx2mvit.deployment.candidates import by_block
    from onnx2mvit.deployment.int8 import quantizable, quantized_file
    from onnx2mvit.deployment.litert import litert_model
    from onnx2mvit.runtimes import LiteRTRunner

    interface = describe_model(model, 1, None)
    content = litert_model(model, interface, "int8")
    groups = by_block(quantizable(content), [layer.name for layer in model.layers])
    members = [each for block in groups if block not in floating for each in groups[block]]
    found: dict[str, Array] = interface.run(
        LiteRTRunner(quantized_file(content, members)), {"image": pixels}
    )
    return found


@pytest.mark.xdist_group("deploy")
def test_a_network_answers_as_its_int8_file_does() -> None:
    model, pixels = network(), images()
    plain, file = answers(model, pixels), int8_answers(model, pixels)["head"]
    with onnx2mvit.quantization_aware(model):
        ours = answers(model, pixels)
    assert decibels(plain, file) < 50
    assert decibels(ours, file) > 100
    some = ("block.1", "head")
    with onnx2mvit.quantization_aware(model, float32=some):
        ours = answers(model, pixels)
    file = int8_answers(model, pixels, some)["head"]
    assert decibels(plain, file) < 50
    assert decibels(ours, file) > 100


KINDS = {
    "stem": layers.Conv2D(8, 3, padding="same", activation="relu"),
    "of_pixels": layers.Conv2D(8, 1, dilation_rate=2),
    "of_pixels_in_steps": layers.Conv2D(8, 1, strides=2),
    "of_pixels_in_groups": layers.Conv2D(8, 1, groups=2),
    "grouped": layers.Conv2D(6, 3, groups=6),
    "along": layers.Conv1D(8, 3, dilation_rate=2),
    "along_by_one": layers.Conv1D(8, 1),
    "dense": layers.Dense(8),
    "heads": layers.EinsumDense("bhwc,cnd->bhwnd", (None, None, 2, 4), bias_axes="nd"),
    "of_heads": layers.EinsumDense("btnd,ndc->btc", (None, 8)),
    "across": layers.EinsumDense("btc,ts->bsc", (7, 6)),
    "any_axes": layers.EinsumDense("...tc,cd->...td", (9, 8)),
    "depthwise": layers.DepthwiseConv2D(3),
    "scaled": layers.EinsumDense("bhwc,c->bhwc", (9, 9, 6), kernel_initializer="normal"),
    "transposed": layers.Conv2DTranspose(4, 2),
}
IN_FLOAT = {"depthwise", "scaled", "transposed"}


@pytest.mark.xdist_group("deploy")
def test_every_layer_computes_as_in_the_file() -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((9, 9, 6), name="image")
    outputs = []
    for name, layer in KINDS.items():
        shapes = {"along": (81, 6), "along_by_one": (81, 6), "of_heads": (81, 2, 3)}
        x = layers.Reshape({**shapes, "across": (81, 6)}.get(name, (9, 9, 6)))(image)
        copy = type(layer).from_config(layer.get_config() | {"name": name})
        if name == "across":
            x = layers.Cropping1D((0, 74))(x)
        outputs.append(copy(x))
    model = keras.Model(image, outputs)
    pixels = np.random.default_rng(0).normal(0.3, 1, (1, 9, 9, 6)).astype(np.float32)
    pixels[:, 0, 0] = 0  # a pixel without a range
    plain, file = model(pixels), int8_answers(model, pixels)
    with onnx2mvit.quantization_aware(model):
        found = model(pixels)
    off = {
        name: (decibels(np.array(ours), file[name]), decibels(np.array(own), file[name]))
        for name, ours, own in zip(KINDS, found, plain, strict=True)
    }
    assert {name for name, (_, own) in off.items() if own > 100} == IN_FLOAT
    assert all(ours > 100 for ours, _ in off.values()), off


def test_gradients_pass_as_if_nothing_were_rounded() -> None:
    """They are those of the rounded numbers: of a linear layer, its rounded input and kernel."""
    x = keras.Input((6,))
    model = keras.Model(x, layers.Dense(4, use_bias=False, name="linear")(x))
    rows = tf.constant(np.random.default_rng(0).normal(size=(3, 6)), tf.float32)
    weights = tf.constant(np.random.default_rng(1).normal(size=(3, 4)), tf.float32)
    layer = model.get_layer("linear")
    with onnx2mvit.quantization_aware(model), tf.GradientTape() as tape:
        tape.watch(rows)
        loss = tf.reduce_sum(weights * model(rows))
    of_rows, of_kernel = tape.gradient(loss, [rows, layer.kernel.value])
    scale = np.abs(layer.kernel).max(0) / 127
    kernel = np.round(layer.kernel / scale) * scale
    with_zero = np.pad(rows, ((0, 0), (0, 1)))
    step = np.ptp(with_zero, 1, keepdims=True) / 255
    read = np.round(rows / step) * step
    np.testing.assert_allclose(of_rows, np.array(weights) @ kernel.T, rtol=1e-5)
    np.testing.assert_allclose(of_kernel, read.T @ np.array(weights), rtol=1e-5)


def test_it_learns_to_answer_in_int8() -> None:
    """Steps of what a coarse rounding hides from the loss are made up for by other weights."""
    model, pixels = compiled(network()), images(16)
    labels = np.arange(16) % 5
    with onnx2mvit.quantization_aware(model):
        before = model.evaluate(pixels, labels, verbose=0)
        model.fit(pixels, labels, epochs=3, batch_size=8, verbose=0)
        after = model.evaluate(pixels, labels, verbose=0)
    assert after < before
    assert all(np.isfinite(each).all() for each in model.get_weights())


def test_what_is_saved_meanwhile_and_afterwards_is_stock(tmp_path: Path) -> None:
    model, pixels = network(), images()
    before = model.predict(pixels, verbose=0)
    with onnx2mvit.quantization_aware(model):
        model.save(tmp_path / "meanwhile.keras")
        rounded = model.predict(pixels, verbose=0)
        clone = keras.models.clone_model(model)
    model.save(tmp_path / "afterwards.keras")
    assert (rounded != before).any()
    np.testing.assert_array_equal(model.predict(pixels, verbose=0), before)
    for file in ("meanwhile.keras", "afterwards.keras"):
        again = keras.models.load_model(tmp_path / file)
        np.testing.assert_array_equal(again.predict(pixels, verbose=0), before)
    assert not changed(model) and not changed(clone)


def changed(model: keras.Model) -> set[str]:
    return {path for path, layer in layers_by_path(model) if "call" in vars(layer)}


def test_nothing_is_left_of_it_after_an_error() -> None:
    model = network()
    with pytest.raises(ZeroDivisionError), onnx2mvit.quantization_aware(model):
        assert "block.1/attention/query" in changed(model)
        raise ZeroDivisionError
    assert not changed(model)


def test_each_ends_where_it_began_whichever_is_the_inner_one() -> None:
    model = compiled(network())
    pixels, labels = images(8), np.arange(8) % 5
    start = model.get_weights()

    def trained() -> list[Array]:
        model.set_weights(start)
        model.train_on_batch(pixels, labels)
        return [each.copy() for each in model.get_weights()]

    with onnx2mvit.quantization_aware(model):
        expected, inside = trained(), changed(model)
        with onnx2mvit.fast_training(model):
            within = trained()
            assert changed(model) == inside | {"stem_normalization"}
        assert changed(model) == inside
        with onnx2mvit.quantization_aware(model, float32=["head"]):
            assert changed(model) == inside
        np.testing.assert_array_equal(trained()[0], expected[0])
    with onnx2mvit.fast_training(model), onnx2mvit.quantization_aware(model):
        around = trained()
    assert not changed(model)
    for ours, other, theirs in zip(within, around, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(ours, other)


def test_half_precision_and_lora_are_rounded_too() -> None:
    model, pixels = network(), images()
    kernel = model.get_layer("head").kernel
    model.get_layer("head").enable_lora(2)
    model.get_layer("head").lora_kernel_b.assign(np.full((2, 5), 0.3))
    with onnx2mvit.quantization_aware(model):
        ours = answers(model, pixels)
    merged = network()
    merged.get_layer("head").set_weights([model.get_layer("head").kernel, np.zeros(5)])
    with onnx2mvit.quantization_aware(merged):
        np.testing.assert_allclose(ours, answers(merged, pixels), atol=1e-5)
    assert kernel is not model.get_layer("head").kernel
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = network()
    finally:
        keras.config.set_dtype_policy("float32")
    with onnx2mvit.quantization_aware(half), onnx2mvit.quantization_aware(whole := network()):
        found = half(pixels)
        assert found.dtype == "bfloat16"
        np.testing.assert_allclose(np.array(found, "f4"), answers(whole, pixels), atol=0.1)


@pytest.mark.parametrize(
    ("float32", "message"),
    [
        (["stage.1"], "float32='stage.1': no block of that name has a layer for int8"),
        (["depthwise"], "float32='depthwise': no block"),
        ("stem", "float32='stem': give names of blocks"),
    ],
)
def test_what_no_block_is_called_is_refused(float32: Any, message: str) -> None:
    model = network()
    with (
        pytest.raises(UsageError, match=message),
        onnx2mvit.quantization_aware(model, float32=float32),
    ):
        pass
    assert not changed(model)


def test_what_has_nothing_for_int8_is_refused() -> None:
    x = keras.Input((4,))
    models: list[tuple[Any, Any, str]] = [
        ([], UsageError, "takes a Keras model, not list"),
        (keras.Model(x, layers.ReLU()(x)), UnsupportedError, "no convolution or linear layer"),
    ]
    for model, error, message in models:
        with pytest.raises(error, match=message), onnx2mvit.quantization_aware(model):
            pass


def test_a_block_has_the_layers_that_begin_with_its_name() -> None:
    block_of = block_finder(["stem", "stem.1", "block.1"])
    assert block_of("stem_convolution/") == block_of("net_1/stem_convolution_1/conv;") == "stem"
    assert block_of("stem.1_convolution/") == "stem.1"
    assert block_of("block.1/attention/query/") == "block.1"
    assert block_of("stem2/") is block_of("block.10/mlp/") is None
