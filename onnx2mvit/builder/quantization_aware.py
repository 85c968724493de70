"""Training with what int8 does to a network in a LiteRT file, so that its answers survive it.

`deploy --precision int8` rounds the weights of convolutions and linear layers to int8, with a
scale for each output channel, and LiteRT (XNNPACK) rounds what they read when the file runs. Here
the layers compute with numbers that are rounded so (fake quantization, Jacob et al., 2018,
arXiv:1712.05877), while gradients pass as if nothing were rounded (straight-through, Bengio et al.,
2013, arXiv:1308.3432). The normalization that the file has folded into the weights changes the
scale of a channel, and so nothing of what is rounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from onnx2mvit.base.arguments import check_arguments
from onnx2mvit.base.backend import import_keras
from onnx2mvit.builder.layers import block_finder, check_model, layers_by_path, other_calls
from onnx2mvit.errors import UnsupportedError, UsageError

if TYPE_CHECKING:
    import keras

Axes = tuple[int, ...]
LARGEST = 127.0  # of a weight; the other end is -127
LOWEST, STEPS = -128.0, 255.0  # of what a layer reads


@contextmanager
def quantization_aware(model: keras.Model, float32: Sequence[str] = ()) -> Iterator[None]:
    """Meanwhile, a model computes as its LiteRT file in int8 does, and is trained so.

        with onnx2mvit.quantization_aware(model):
            model.fit(images, labels)
        model.save("aware.keras")  # onnx2mvit deploy aware.keras --precision int8 --aware

    Conv1D, Conv2D, Dense and EinsumDense, those of MultiHeadAttention too, read rounded numbers and
    have rounded kernels; `evaluate` and `predict` tell what the file would answer. The layers
    stay Keras's own, with their weights in float32: what is saved, cloned or deployed meanwhile or
    afterwards knows nothing of it. It goes with `fast_training`, one within the other. Layers
    that Keras itself has quantized, and those of other classes, compute as ever.

    Args:
        model: what `fit` is called of; models in it are looked into.
        float32: names of blocks that the file keeps in float32, as deploy.json has them.

    Raises:
        UsageError: it is no model, or has nothing for int8 in a block of such a name.
        UnsupportedError: nothing in it can be in int8.
    """
    check_model(model, "quantization_aware")
    check_arguments({"float32": float32})
    taken = {
        layer: (f"{path}/", axes)
        for path, layer in layers_by_path(model)
        if (axes := _axes(layer)) is not None
    }
    for name in float32:
        if not any(map(block_finder([name]), (path for path, _ in taken.values()))):
            raise UsageError(f"float32={name!r}: no block of that name has a layer for int8")
    block_of = block_finder(float32)
    calls = {
        layer: partial(_call, layer, *axes)
        for layer, (path, axes) in taken.items()
        if block_of(path) is None
    }
    if not calls:
        raise UnsupportedError("no convolution or linear layer here can be in int8")
    with other_calls(model, calls):
        yield


def _axes(layer: Any) -> tuple[Axes, Axes] | None:
    """The axes of its input, and of its kernel, that share a scale; None if int8 leaves it out."""
    layers = import_keras().layers
    if getattr(layer, "quantization_mode", None) is not None:
        return None
    if type(layer) is layers.Dense:
        return (-1,), (0,)
    if type(layer) is layers.EinsumDense:
        return _einsum_axes(layer)
    if type(layer) in (layers.Conv1D, layers.Conv2D):
        space = tuple(range(1, layer.rank + 1))
        # XNNPACK computes these as linear layers of every pixel.
        linear = {*layer.kernel_size, *layer.strides, layer.groups} == {1}
        return (-1,) if linear else (*space, layer.rank + 1), (0, *space)
    return None


def _einsum_axes(layer: Any) -> tuple[Axes, Axes] | None:
    """Those that the product sums over; None if it is not one of matrices."""
    left, result = layer.equation.split("->")
    inputs, kernel = left.split(",")
    summed = [axis for axis in kernel if axis in inputs and axis not in result]
    if not summed or any(axis in inputs and axis in result for axis in kernel):
        return None
    first, _, last = inputs.rpartition("...")
    read = (last.index(axis) - len(last) if axis in last else first.index(axis) for axis in summed)
    return tuple(read), tuple(map(kernel.index, summed))


def _call(layer: Any, read: Axes, shared: Axes, inputs: Any, *args: Any, **kwargs: Any) -> Any:
    """What the layer's own `call` answers with both rounded.

    Its variables are those of Keras's scope here: around a whole step there is one on JAX.
    """
    from keras import StatelessScope, ops

    kernel = _wide(layer.kernel)
    scale = ops.max(ops.abs(kernel), axis=shared, keepdims=True) / LARGEST
    rounded = ops.round(kernel / _not_zero(scale)) * scale
    own = layer._kernel  # without what LoRA adds
    others = kernel - _wide(own.value)
    values = {id(each): (each, each.value) for each in layer.variables}
    values[id(own)] = (own, _straight_through(own.value, rounded - others))
    with StatelessScope(values.values(), initialize_variables=False):
        return type(layer).call(layer, _as_read(inputs, read), *args, **kwargs)


def _as_read(inputs: Any, axes: Axes) -> Any:
    """Inputs in 256 steps from their minimum to their maximum, zero being one of them.

    `axes` share a scale and a zero point: of a pixel, a token, or an image.
    """
    from keras import ops

    wide = _wide(inputs)
    low = ops.minimum(ops.min(wide, axis=axes, keepdims=True), 0.0)
    high = ops.maximum(ops.max(wide, axis=axes, keepdims=True), 0.0)
    scale = (high - low) / STEPS
    step = _not_zero(scale)
    zero = ops.round(LOWEST - low / step)
    steps = ops.clip(ops.round(wide / step) + zero, LOWEST, LOWEST + STEPS)
    return _straight_through(inputs, (steps - zero) * scale)


def _not_zero(scale: Any) -> Any:
    from keras import ops

    return ops.where(scale > 0, scale, 1.0)


def _wide(value: Any) -> Any:
    """In float32 at least."""
    from keras import backend, ops

    return ops.cast(value, backend.result_type(value.dtype, "float32"))


def _straight_through(value: Any, rounded: Any) -> Any:
    """The rounded value, exactly, with the gradient of the other."""
    from keras import ops

    rounded = ops.cast(rounded, value.dtype)
    return ops.stop_gradient(rounded) + (value - ops.stop_gradient(value))
