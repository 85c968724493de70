"""Pooling over sequences, images and volumes, with any window."""

from __future__ import annotations

from onnx2mvit.ir.block import Block
from onnx2mvit.ir.layout import channels_last
from onnx2mvit.lowering.operators.convolution import image
from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.lowering.operators.step import Code, Step
from onnx2mvit.lowering.operators.text import Raw, alike, call, layer, unless
from onnx2mvit.lowering.operators.window import Pads, Window, padded, window, zero_padded
from onnx2mvit.matcher.pattern import require

NOT_NEGATIVE = ("relu", "relu6", "sigmoid")
INFINITY = 'float("-inf")'


def pooling_window(step: Step) -> tuple[Window, Pads]:
    """The window, and what its last steps need behind the padding."""
    dtype = step.node.output.dtype
    require(dtype is not None and dtype.kind == "f", f"it computes {dtype}, not floats")
    w = window(step, step.attrs["kernel_shape"])
    # On these two onnxruntime and ONNX's own shapes disagree.
    automatic = step.attrs.get("auto_pad", "NOTSET").startswith("SAME")
    require(not automatic or max(w.dilations) == 1, "it pads a dilated window automatically")
    beyond = w.beyond(step.shape()[2:], step.output_shape[2:])
    for more, span, (_, after) in zip(beyond, w.spans, w.pads, strict=True):
        require(after + more[1] < span, "its last window sees nothing but padding")
    return w, beyond


def finish(step: Step, text: str) -> Code:
    """The answer: an image, channels last."""
    return step.code(text, channels_last(len(step.shape())))


def pool_layer(w: Window, kind: str, padding: str | None = None) -> str:
    """The layer; where it steps by its own size, that needs no saying."""
    size, strides = alike(w.size), alike(w.strides)
    return layer(f"{kind}{len(w.size)}D", size, strides=unless(strides, size), padding=padding)


def join(first: Pads, second: Pads) -> Pads:
    """Padding around padding."""
    pairs = zip(first, second, strict=True)
    return tuple((a + c, b + d) for (a, b), (c, d) in pairs)


@operator("MaxPool", 11, 12, 22)
def max_pool(step: Step) -> Code:
    """As `MaxPooling2D`; padding counts for nothing, whatever is in the image."""
    w, beyond = pooling_window(step)
    x = image(step)
    if w.same and max(w.dilations) == 1:
        return finish(step, f"{pool_layer(w, 'MaxPooling', 'same')}({x})")
    pads = join(w.pads, beyond)
    if any(map(any, pads)):
        step.fixed_size = beyond != ((0, 0),) * len(pads)
        zeros = _is_not_negative(step)
        x = zero_padded(x, pads) if zeros else padded(x, pads, INFINITY)
    if max(w.dilations) > 1:
        return finish(step, f"ops.max({windows(x, w)}, axis=0)")
    return finish(step, f"{pool_layer(w, 'MaxPooling')}({x})")


def _is_not_negative(step: Step) -> bool:
    """True if the input comes out of a recognised block that ends with such an activation."""
    block = step.graph.producer(step.value())
    return isinstance(block, Block) and block.params.get("activation") in NOT_NEGATIVE


def windows(x: str, w: Window) -> str:
    """All elements of the windows, one after the other on a new first axis."""
    return call("windows", Raw(x), w.size, w.strides, w.dilations)


@operator("AveragePool", 11, 19, 22)
def average_pool(step: Step) -> Code:
    """As `AveragePooling2D`, which counts no padding; where some counts, it is filled first."""
    w, beyond = pooling_window(step)
    x, counted = image(step), bool(step.attrs.get("count_include_pad", 0))
    dilated, more = max(w.dilations) > 1, any(map(any, beyond))
    step.fixed_size = more
    if w.same and not counted and not dilated and not more:
        return finish(step, f"{pool_layer(w, 'AveragePooling', 'same')}({x})")
    if w.padded and counted:
        x = zero_padded(x, w.pads)
    rest = beyond if counted else join(w.pads, beyond)
    if any(map(any, rest)):
        pads = ((0, 0), *rest, (0, 0))
        ones = f"ops.pad(ops.ones_like({x}[:1, ..., :1]), {pads})"
        x = f"ops.pad({x}, {pads})"
        return finish(step, f"ops.divide({_mean(x, w)}, {_mean(ones, w)})")
    if dilated:
        return finish(step, _mean(x, w))
    return finish(step, f"{pool_layer(w, 'AveragePooling')}({x})")


def _mean(x: str, w: Window) -> str:
    """The mean of every window, padding included."""
    if max(w.dilations) > 1:
        return f"ops.mean({windows(x, w)}, axis=0)"
    size, strides = alike(w.size), alike(w.strides)
    return call("ops.average_pool", Raw(x), size, strides=unless(strides, size))


@operator("LpPool", 11, 18, 22)
def lp_pool(step: Step) -> Code:
    """The p-norm of every window."""
    w, beyond = pooling_window(step)
    x, pads = image(step), join(w.pads, beyond)
    step.fixed_size = any(map(any, beyond))
    if any(map(any, pads)):
        x = zero_padded(x, pads)
    power = step.attrs.get("p", 2)
    total = f"ops.sum({windows(powers(x, power), w)}, axis=0)"
    return finish(step, root(total, power))


def powers(x: str, power: int) -> str:
    """What is summed for a p-norm."""
    known = {1: f"ops.abs({x})", 2: f"ops.square({x})"}
    return known.get(power, f"ops.power(ops.abs({x}), {power})")


def root(total: str, power: int) -> str:
    """The p-norm of that sum."""
    known = {1: total, 2: f"ops.sqrt({total})"}
    return known.get(power, f"ops.power({total}, {1 / power!r})")


@operator("GlobalAveragePool", 1, 22)
def global_average_pool(step: Step) -> Code:
    """The mean over space."""
    return _global(step, "GlobalAveragePooling", "ops.mean")


@operator("GlobalMaxPool", 1, 22)
def global_max_pool(step: Step) -> Code:
    """The largest over space."""
    return _global(step, "GlobalMaxPooling", "ops.max")


@operator("GlobalLpPool", 2, 22)
def global_lp_pool(step: Step) -> Code:
    """The p-norm over space."""
    power, axes = step.attrs.get("p", 2), tuple(range(1, len(step.shape()) - 1))
    total = f"ops.sum({powers(image(step), power)}, axis={axes}, keepdims=True)"
    return finish(step, root(total, power))


def _global(step: Step, kind: str, function: str) -> Code:
    rank = len(step.shape()) - 2
    if 1 <= rank <= 3:
        return finish(step, f"{layer(f'{kind}{rank}D', keepdims=True)}({image(step)})")
    axes = tuple(range(1, rank + 1))
    return finish(step, f"{function}({image(step)}, axis={axes}, keepdims=True)")
