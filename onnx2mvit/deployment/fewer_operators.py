"""Stock layers in forms of fewer operators, for the files that TensorFlow traces of a model.

Keras writes layer normalization as x · s + t with s = γ / σ and t = β - mean · s, each of the size
of x, and scales the scores of attention, of which there are as many as pairs of tokens. Here it is
(x - mean) / σ · γ + β, of which LiteRT's converter folds γ and β into the linear layers that read
it, and the queries are scaled, which it folds into the linear layer that makes them. Keras reshapes
the bias of a convolution in every call, here it is a BiasAdd; and its SiLU has a gradient of its
own, which keeps TensorFlow from making one operator of it and the convolution before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from onnx2mvit.base.backend import import_keras
from onnx2mvit.base.optional import import_tensorflow
from onnx2mvit.builder.layers import layers_by_path, other_calls

if TYPE_CHECKING:
    import keras

SPECIAL = ("dropout", "_use_gate", "_sliding_window")  # of attention, as far as this Keras has them


@contextmanager
def fewer_operators(model: keras.Model, norms: bool = True) -> Iterator[None]:
    """Meanwhile, the layers of a model compute the same in fewer operators, on TensorFlow.

    The layers stay Keras's own, as under `fast_training`. Of these classes, LayerNormalization,
    MultiHeadAttention, Conv2D, DepthwiseConv2D and Activation, those compute as ever that are not
    in float32, normalize other axes than the last, attend otherwise than tokens to tokens without
    a mask, a gate or dropout, have no bias or channels first.

    Args:
        model: models in it are looked into.
        norms: whether normalization is among them. Not where linear layers are to be rounded to
            int8: with γ in them they would be other kernels, and would read other numbers.
    """
    layers = import_keras().layers
    forms: dict[type, Callable[..., Any]] = {
        layers.MultiHeadAttention: _attention,
        layers.Conv2D: _convolution,
        layers.DepthwiseConv2D: _depthwise,
        layers.Activation: _activation,
    }
    if norms:
        forms[layers.LayerNormalization] = _normalization
    taken = [
        layer
        for _, layer in layers_by_path(model)
        if type(layer) in forms and layer.compute_dtype == "float32"
    ]
    with other_calls(model, {layer: partial(forms[type(layer)], layer) for layer in taken}):
        yield


def _normalization(layer: Any, inputs: Any) -> Any:
    """What `LayerNormalization.call` answers (Keras 3.15)."""
    from keras import backend, ops

    last = list(layer.axis) in ([-1], [len(inputs.shape) - 1])
    wide = backend.standardize_dtype(inputs.dtype) == "float32"
    if not (last and wide) or getattr(layer, "rms_scaling", False):
        return type(layer).call(layer, inputs)
    y = inputs - ops.mean(inputs, axis=-1, keepdims=True)
    # A product of two, and not a square: XNNPACK makes one operator of it and the mean.
    y = y * ops.rsqrt(ops.mean(y * y, axis=-1, keepdims=True) + layer.epsilon)
    y = y * layer.gamma if layer.scale else y
    return y + layer.beta if layer.center else y


def _attention(layer: Any, query: Any, value: Any, key: Any = None, **given: Any) -> Any:
    """What `MultiHeadAttention.call` answers (Keras 3.15)."""
    from keras import ops

    others = [each for name, each in given.items() if name != "training"]  # masks, and switches
    plain = all(each is None or each is False for each in others)
    plain &= not any(getattr(layer, name, None) for name in SPECIAL)
    if not plain or len(query.shape) != 3 or len(value.shape) != 3:
        return type(layer).call(layer, query, value, key, **given)
    queries = layer.query_dense(query) * layer.key_dim**-0.5
    keys = layer.key_dense(value if key is None else key)
    scores = ops.matmul(ops.transpose(queries, (0, 2, 1, 3)), ops.transpose(keys, (0, 2, 3, 1)))
    values = ops.transpose(layer.value_dense(value), (0, 2, 1, 3))
    y = ops.matmul(ops.softmax(scores, axis=-1), values)
    return layer.output_dense(ops.transpose(y, (0, 2, 1, 3)))


def _convolution(layer: Any, inputs: Any) -> Any:
    """What `Conv2D.call` answers (Keras 3.15)."""
    if not layer.use_bias or layer.data_format != "channels_last":
        return type(layer).call(layer, inputs)
    return _with_bias(layer, layer.convolution_op(inputs, layer.kernel))


def _depthwise(layer: Any, inputs: Any) -> Any:
    """What `DepthwiseConv2D.call` answers (Keras 3.15)."""
    from keras import ops

    if not layer.use_bias or layer.data_format != "channels_last":
        return type(layer).call(layer, inputs)
    y = ops.depthwise_conv(
        inputs, layer.kernel, layer.strides, layer.padding, layer.data_format, layer.dilation_rate
    )
    return _with_bias(layer, y)


def _with_bias(layer: Any, y: Any) -> Any:
    y = import_tensorflow().nn.bias_add(y, layer.bias)
    return y if layer.activation is None else layer.activation(y)


def _activation(layer: Any, inputs: Any) -> Any:
    """SiLU and hard swish as TensorFlow knows them after a convolution.

    It sorts the factors of a product by name, and knows the second if the image comes first.
    """
    from keras import activations, ops

    tensorflow = import_tensorflow()
    if layer.activation is activations.silu:
        return inputs * ops.sigmoid(inputs)
    if layer.activation is activations.hard_silu and tensorflow.is_symbolic_tensor(inputs):
        with tensorflow.name_scope(f"{inputs.op.name}/"):
            return type(layer).call(layer, inputs)
    return type(layer).call(layer, inputs)
