"""What is traced for a file is what the stock layers compute, in fewer operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from tensorflow.python.eager import context  # no public module tells what was optimized

from onnx2mvit.deployment import describe_model, litert_model
from onnx2mvit.deployment.candidates import by_block
from onnx2mvit.deployment.fewer_operators import fewer_operators
from onnx2mvit.deployment.int8 import quantizable
from onnx2mvit.deployment.litert import operators
from onnx2mvit.runtimes import LiteRTRunner

Array = np.ndarray[Any, Any]
TOKENS, IMAGE = (9, 8), (7, 6, 4)


def numbers(*shape: int) -> Array:
    return np.random.default_rng(0).normal(0.3, 1, shape).astype(np.float32)


def with_weights(layer: Any, *shapes: tuple[int, ...]) -> Any:
    layer.build(*shapes)
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(0.5, 1, each.shape) for each in layer.weights])
    return layer


def norm(**given: Any) -> Any:
    return with_weights(layers.LayerNormalization(epsilon=1e-5, **given), (2, *TOKENS))


def attention(**given: Any) -> Any:
    return with_weights(layers.MultiHeadAttention(2, 4, **given), (2, *TOKENS), (2, *TOKENS))


def answer(layer: Any, *given: Array, **more: Any) -> tuple[Array, Array, bool]:
    """Ours, the stock layer's, and whether its own `call` computed ours.

    Of a model around the layer, as masks and the like go by the model's calls.
    """
    inputs = [keras.Input(each.shape[1:], dtype=each.dtype) for each in given]
    tensors = list(given) if len(given) > 1 else given[0]
    model = keras.Model(inputs if len(given) > 1 else inputs[0], layer(*inputs, **more))
    stock = model(tensors, training=False)
    own = type(layer).call
    with fewer_operators(model), mock.patch.object(type(layer), "call", autospec=True) as call:
        call.side_effect = own
        ours = model(tensors, training=False)
    assert "call" not in vars(layer)
    return np.asarray(ours), np.asarray(stock), call.called


def convolution(kind: Any = layers.Conv2D, filters: tuple[int, ...] = (5,), **given: Any) -> Any:
    return with_weights(kind(*filters, 3, **given), (2, *IMAGE))


def depthwise(**given: Any) -> Any:
    return convolution(layers.DepthwiseConv2D, (), **given)


TAKEN: dict[str, tuple[Callable[[], Any], int]] = {
    "a normalization": (norm, 1),
    "without gamma": (lambda: norm(scale=False), 1),
    "without beta": (lambda: norm(center=False), 1),
    "its last axis by number": (lambda: norm(axis=2), 1),
    "attention": (attention, 2),
    "without biases": (lambda: attention(use_bias=False), 2),
    "values of another size": (lambda: attention(value_dim=3, output_shape=5), 2),
    "keys of other tensors": (attention, 3),
}
ON_IMAGES: dict[str, Callable[[], Any]] = {
    "a convolution": lambda: convolution(activation="gelu"),
    "one in groups, in steps": lambda: convolution(filters=(6,), groups=2, strides=2),
    "a depthwise convolution": lambda: depthwise(activation="relu"),
    "one in steps, of two filters": lambda: depthwise(strides=2, depth_multiplier=2),
    "one with gaps": lambda: depthwise(dilation_rate=2, padding="same"),
    "SiLU": lambda: layers.Activation("silu"),
}
LEFT_ON_IMAGES: dict[str, Callable[[], Any]] = {
    "a convolution without a bias": lambda: convolution(use_bias=False),
    "a depthwise convolution without a bias": lambda: depthwise(use_bias=False),
    "another activation": lambda: layers.Activation("tanh"),
}
LEFT: dict[str, tuple[Callable[[], Any], int, dict[str, Any]]] = {
    "another axis": (lambda: norm(axis=1), 1, {}),
    "two axes": (lambda: norm(axis=(1, 2)), 1, {}),
    "a normalization in float16": (lambda: norm(dtype="mixed_float16"), 1, {}),
    "attention in float16": (lambda: attention(dtype="mixed_float16"), 2, {}),
    "causal": (attention, 2, {"use_causal_mask": True}),
    "a mask": (attention, 2, {"attention_mask": np.tri(9, dtype=bool)[None]}),
    "dropout": (lambda: attention(dropout=0.1), 2, {}),
}


@pytest.mark.parametrize("case", TAKEN)
def test_layers_answer_as_ever(case: str) -> None:
    make, count = TAKEN[case]
    ours, stock, by_itself = answer(make(), *(numbers(2, *TOKENS) + at for at in range(count)))
    assert not by_itself
    np.testing.assert_allclose(ours, stock, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", LEFT)
def test_other_layers_are_left_as_they_are(case: str) -> None:
    make, count, more = LEFT[case]
    ours, stock, by_itself = answer(make(), *[numbers(2, *TOKENS)] * count, **more)
    assert by_itself
    np.testing.assert_array_equal(ours, stock)


@pytest.mark.parametrize("case", ON_IMAGES)
def test_layers_of_images_answer_as_ever(case: str) -> None:
    ours, stock, by_itself = answer(ON_IMAGES[case](), numbers(2, *IMAGE))
    assert not by_itself
    np.testing.assert_allclose(ours, stock, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", LEFT_ON_IMAGES)
def test_other_layers_of_images_are_left_as_they_are(case: str) -> None:
    ours, stock, by_itself = answer(LEFT_ON_IMAGES[case](), numbers(2, *IMAGE))
    assert by_itself
    np.testing.assert_array_equal(ours, stock)


def optimized(function: Callable[[Any], Any]) -> tuple[Array, list[tuple[str, ...]]]:
    """The answer of a tf.function, and the operators that TensorFlow left of it."""
    taken = tf.TensorSpec((None, *IMAGE))
    call = tf.function(function, autograph=False).get_concrete_function(taken)
    context.enable_run_metadata()
    try:
        found = np.asarray(call(tf.constant(numbers(1, *IMAGE))))
        nodes = context.export_run_metadata().function_graphs[-1].post_optimization_graph.node
    finally:
        context.disable_run_metadata()
    fused = ((each.op, *map(bytes.decode, each.attr["fused_ops"].list.s)) for each in nodes)
    return found, sorted(each for each in fused if each[0] not in {"_Arg", "Const", "NoOp"})


PLAIN: dict[str, Callable[[Any], Any]] = {
    "silu": lambda y: y * tf.sigmoid(y),
    "hard_silu": lambda y: y * (tf.nn.relu6(y + 3.0) / 6.0),
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
}


@pytest.mark.parametrize("activation", PLAIN)
def test_tensorflow_fuses_as_much_as_of_its_own_functions(activation: str) -> None:
    image = keras.Input(IMAGE)
    layer = convolution(name="z")
    model = keras.Model(image, layers.Activation(activation, name="a")(layer(image)))
    kernel, bias = (tf.Variable(each) for each in layer.get_weights())
    expected, fewest = optimized(
        lambda x: PLAIN[activation](tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "VALID"), bias))
    )
    _, of_stock = optimized(lambda x: model(x, training=False))
    with fewer_operators(model):
        ours, found = optimized(lambda x: model(x, training=False))
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)
    assert found == fewest
    assert len(found) < len(of_stock)


def test_what_padding_hides_stays_hidden() -> None:
    ids = keras.Input((9,), dtype="int32")
    tokens = layers.Embedding(5, 8, mask_zero=True)(ids)
    model = keras.Model(ids, layers.MultiHeadAttention(2, 4)(tokens, tokens))
    given = np.array([[1, 2, 3, 4, 1, 0, 0, 0, 0]])
    stock = model(given)
    with fewer_operators(model):
        np.testing.assert_array_equal(model(given), stock)


def test_subclasses_compute_as_they_say() -> None:
    class Doubled(layers.LayerNormalization):  # type: ignore[misc]  # Keras has no types
        def call(self, inputs: Any) -> Any:
            return 2 * super().call(inputs)

    ours, stock, by_itself = answer(with_weights(Doubled(), (2, *TOKENS)), numbers(2, *TOKENS))
    assert by_itself
    np.testing.assert_array_equal(ours, stock)


@pytest.fixture(scope="module")
def transformer() -> keras.Model:
    """A layer of a transformer in a nested model, its weights far from how they begin."""
    inside = keras.Input(TOKENS)
    y = norm(name="norm")(inside)
    y = layers.Add()([inside, attention(name="attention")(y, y)])
    y = with_weights(layers.Dense(8, name="mlp"), (2, *TOKENS))(norm(name="norm_after")(y))
    block = keras.Model(inside, y, name="block.1")
    tokens = keras.Input(TOKENS, name="tokens")
    return keras.Model(tokens, layers.Add(name="answers")([tokens, block(tokens)]))


def kernels(content: bytes) -> list[Array]:
    from ai_edge_litert.interpreter import Interpreter

    made = Interpreter(model_content=content)
    read = [each["inputs"][1] for each in made._get_ops_details()
            if each["op_name"] == "FULLY_CONNECTED"]  # fmt: skip
    return [made.get_tensor(index) for index in read]


@pytest.mark.xdist_group("deploy")
def test_a_file_has_no_more_operators_than_it_needs(transformer: keras.Model) -> None:
    content = litert_model(transformer, describe_model(transformer, 1, None))
    given = {"tokens": numbers(1, *TOKENS)}
    (ours,) = LiteRTRunner(content)(given).values()
    stock = ops.convert_to_numpy(transformer(given["tokens"]))
    assert np.abs(ours - stock).max() <= 1e-5 * np.abs(stock).max()
    found = operators(content)
    # γ, β and the scale of the scores are in the linear layers.
    assert {kind: found[kind] for kind in ("FULLY_CONNECTED", "SUB", "MUL", "ADD", "RSQRT")} == {
        "FULLY_CONNECTED": 5,
        "SUB": 2,  # the mean
        "MUL": 4,  # a square, and what is divided by its root
        "ADD": 4,  # epsilon, and the two that are of activations
        "RSQRT": 2,
    }
    assert not found.keys() & {"NEG", "SQUARED_DIFFERENCE"}


@pytest.mark.xdist_group("deploy")
def test_int8_rounds_the_kernels_that_the_model_has(transformer: keras.Model) -> None:
    interface = describe_model(transformer, 1, None)
    kernel = transformer.get_layer("block.1").get_layer("mlp").get_weights()[0].T
    for_int8 = litert_model(transformer, interface, "int8")
    assert any(each.shape == (8, 8) and np.allclose(each, kernel) for each in kernels(for_int8))
    plain = litert_model(transformer, interface)
    assert not any(each.shape == (8, 8) and np.allclose(each, kernel) for each in kernels(plain))
    for content in (for_int8, plain):
        groups = by_block(quantizable(content), ["block.1"])
        assert {block: len(group) for block, group in groups.items()} == {"block.1": 5}
