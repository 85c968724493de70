"""What the backend writes as many operations in a training step, by one kernel for each.

Keras 3 writes a training step of batch normalization as single operations: means, differences,
squares, products and their gradients, which is most of a step of these networks on a processor.
TensorFlow and torch have one kernel for it. TensorFlow writes the gradient of SiLU as eight
operations, each of which reads and writes all of the image; XLA compiles them to one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from onnx2mvit.base.backend import import_keras
from onnx2mvit.builder.layers import check_model, layers_by_path, other_calls
from onnx2mvit.errors import UnsupportedError

if TYPE_CHECKING:
    import keras

COMPOSITE = ("silu", "gelu", "hard_silu")  # of TensorFlow's other activations XLA gains nothing

# (image NHWC, gamma, beta, epsilon) → (normalized image, mean, variance over all but channels)
Kernel = Callable[[Any, Any, Any, float], tuple[Any, Any, Any]]


@contextmanager
def fast_training(model: keras.Model) -> Iterator[None]:
    """Meanwhile, what takes much of a training step is one kernel, to the same numbers.

        with onnx2mvit.fast_training(model):
            model.fit(images, labels)

    That is batch normalization and, on TensorFlow, the gradient of SiLU, GELU and hard swish, which
    is compiled for each size of an image when it first comes.

    The layers stay Keras's own: what is saved, cloned or deployed meanwhile or afterwards knows
    nothing of it. Normalizations that average over devices (`synchronized`), renormalize, have a
    mask, compute in float64, or normalize another axis than the last one train as ever.

    Args:
        model: what `fit` is called of; models in it are looked into.

    Raises:
        UsageError: it is no model.
        UnsupportedError: Keras runs on another backend than TensorFlow and torch.
    """
    keras = import_keras()
    check_model(model, "fast_training")
    kernel = _kernel(keras.config.backend())
    kernels = {
        layer: partial(_call, layer, kernel)
        for _, layer in layers_by_path(model)
        if type(layer) is keras.layers.BatchNormalization
        and not (layer.renorm or layer.synchronized)
    }
    with other_calls(model, kernels | _activations(model)):
        yield


def _activations(model: keras.Model) -> dict[Any, Callable[[Any], Any]]:
    """Calls of the layers that are one of `COMPOSITE`; none where there is nothing to gain."""
    keras = import_keras()
    if keras.config.backend() != "tensorflow":
        return {}
    import tensorflow as tf

    if not tf.test.is_built_with_xla():
        return {}
    calls = {keras.activations.get(name): _by_one_gradient(name) for name in COMPOSITE}
    return {
        layer: calls[layer.activation]
        for _, layer in layers_by_path(model)
        if type(layer) is keras.layers.Activation and layer.activation in calls
    }


def _by_one_gradient(name: str) -> Callable[[Any], Any]:
    """An activation of Keras, tensors of any shape and float, whose gradient XLA compiles."""
    import tensorflow as tf

    activation = import_keras().activations.get(name)

    def gradient(inputs: Any, upstream: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            answer = activation(inputs)
        return tape.gradient(answer, inputs, upstream)

    compiled = tf.function(gradient, jit_compile=True, autograph=False)
    call = tf.custom_gradient(lambda inputs: (activation(inputs), partial(compiled, inputs)))
    return lambda inputs: call(inputs)  # Keras looks for the names of arguments


def _call(
    layer: Any, kernel: Kernel, inputs: Any, training: bool | None = None, mask: Any = None
) -> Any:
    """What `BatchNormalization.call` answers (Keras 3.14), and its update of the statistics."""
    from keras import backend, ops

    *pixels, channels = inputs.shape
    usual = layer.axis in (-1, len(pixels)) and mask is None and pixels.count(1) < len(pixels)
    wide = backend.standardize_dtype(inputs.dtype) == "float64"
    if not (training and layer.trainable and usual) or wide:
        return type(layer).call(layer, inputs, training=training, mask=mask)
    image = ops.cast(inputs, "float32")
    if len(pixels) != 3:
        image = ops.reshape(image, (-1, 1, 1, channels))
    gamma = ops.convert_to_tensor(layer.gamma) if layer.scale else ops.ones((channels,))
    beta = ops.convert_to_tensor(layer.beta) if layer.center else ops.zeros((channels,))
    y, mean, variance = kernel(image, gamma, beta, layer.epsilon)
    for moving, now in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(moving * layer.momentum + now * (1.0 - layer.momentum))
    if len(pixels) != 3:
        y = ops.reshape(y, ops.shape(inputs))
    return ops.cast(y, layer.compute_dtype)


def _kernel(backend: str) -> Kernel:
    if backend == "tensorflow":
        return _tensorflow
    if backend == "torch":
        return _torch
    raise UnsupportedError(
        f"fast_training is for Keras on TensorFlow and torch, not on {backend}: JAX compiles a "
        "whole step, which needs no kernel for batch normalization"
    )


def _tensorflow(image: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any]:
    import tensorflow as tf

    # tf.nn.fused_batch_norm raises an epsilon of 1e-5 to 1.001e-5; the operation does not.
    y, mean, unbiased, *_ = tf.raw_ops.FusedBatchNormV3(
        x=image, scale=gamma, offset=beta, mean=[], variance=[], epsilon=epsilon
    )
    count = tf.cast(tf.size(image) // tf.shape(image)[-1], tf.float32)
    return y, mean, unbiased * ((count - 1) / count)


def _torch(image: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any]:
    import torch

    mean, unbiased = torch.zeros_like(gamma), torch.zeros_like(gamma)
    y = torch.nn.functional.batch_norm(
        image.permute(0, 3, 1, 2), mean, unbiased, gamma, beta, True, 1.0, epsilon
    )
    count = image.numel() // image.shape[-1]
    return y.permute(0, 2, 3, 1), mean, unbiased * ((count - 1) / count)
