"""Pooling over sequences, images and volumes, with any window."""

from __future__ import annotations

import math
from dataclasses import replace

from onnx2mvit.ir.block import Block
from onnx2mvit.ir.code import KerasCode
from onnx2mvit.ir.expr import Call, KerasExpr, Literal, alike, call, layer, unless
from onnx2mvit.ir.layout import channels_last
from onnx2mvit.ir.window import Pads, Window
from onnx2mvit.lowering.operators.context import OpContext
from onnx2mvit.lowering.operators.convolution import image
from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.lowering.operators.window import (
    explicit,
    is_turned,
    padded,
    turned,
    window,
    zero_padded,
)
from onnx2mvit.matcher.rooted import require

MOST_CUTS = 256  # of an image, for dilated windows: Keras has no pooling with them
NOT_NEGATIVE = ("relu", "relu6", "sigmoid")


def pooling_window(op: OpContext) -> tuple[Window, Pads]:
    """The window, and what its last steps need behind the padding."""
    dtype = op.node.output.dtype
    require(dtype is not None and dtype.kind == "f", f"it computes {dtype}, not floats")
    w = window(op)
    for axis, (size, length) in enumerate(zip(w.size, op.shape()[2:], strict=True), start=2):
        if size >= length:  # of all there is, rather than of so many elements
            op.has_lengths_of([axis])
    # On these two onnxruntime and ONNX's own shapes disagree.
    automatic = w.auto_pad.startswith("SAME")
    require(not automatic or max(w.dilations) == 1, "it pads a dilated window automatically")
    beyond = w.beyond(op.shape()[2:], op.output_shape[2:])
    for more, span, (_, after) in zip(beyond, w.spans, w.pads, strict=True):
        require(after + more[1] < span, "its last window sees nothing but padding")
    return _for_every_size(op, w, beyond)


def _for_every_size(op: OpContext, w: Window, beyond: Pads) -> tuple[Window, Pads]:
    """Where the number of steps is rounded up, padding that does that for images of every size.

    One element less than a step makes a further window of what is left over, and none of nothing.
    """
    if not (w.ceil_mode and op.varies(range(2, len(op.shape())))):
        return w, beyond
    ends = tuple((0, stride - 1) for stride in w.strides)
    for (_, after), (_, more), span in zip(w.pads, ends, w.spans, strict=True):
        if after + more >= span:  # a last window in the padding is none
            return w, beyond
    return replace(w, ceil_mode=False), ends


def finish(op: OpContext, x: KerasExpr) -> KerasCode:
    """The answer: an image, channels last."""
    return op.code(x, channels_last(len(op.shape())))


def pool_layer(w: Window, kind: str, padding: str | None = None) -> Call:
    """The layer; where it steps by its own size, that needs no saying."""
    size, strides = alike(w.size), alike(w.strides)
    return layer(f"{kind}{len(w.size)}D", size, strides=unless(strides, size), padding=padding)


def join(first: Pads, second: Pads) -> Pads:
    """Padding around padding."""
    pairs = zip(first, second, strict=True)
    return tuple((a + c, b + d) for (a, b), (c, d) in pairs)


@operator("MaxPool", 11, 12, 22)
def max_pool(op: OpContext) -> KerasCode:
    """As `MaxPooling2D`; padding counts for nothing, whatever is in the image."""
    w, beyond = pooling_window(op)
    x = image(op)
    if w.same and max(w.dilations) == 1:
        return finish(op, pool_layer(w, "MaxPooling", "same")(x))
    if is_turned(op, w):
        return finish(op, turned(pool_layer(w, "MaxPooling", "same")(turned(x, w)), w))
    explicit(op, w)
    pads = join(w.pads, beyond)
    if any(map(any, pads)):
        zeros = _is_not_negative(op)
        x = zero_padded(x, pads) if zeros else padded(x, pads, -math.inf)
    if max(w.dilations) > 1:
        return finish(op, call("ops.max", windows(x, w), axis=0))
    return finish(op, pool_layer(w, "MaxPooling")(x))


def _is_not_negative(op: OpContext) -> bool:
    """True if the input comes out of a recognised block that ends with such an activation."""
    block = op.graph.producer(op.value())
    return isinstance(block, Block) and block.params.get("activation") in NOT_NEGATIVE


def windows(x: KerasExpr, w: Window) -> KerasExpr:
    """All elements of the windows, one after the other on a new first axis."""
    count = math.prod(w.size)
    require(count <= MOST_CUTS, f"its dilated windows have {count:,} elements")
    return call("windows", x, w.size, w.strides, w.dilations)


@operator("AveragePool", 11, 19, 22)
def average_pool(op: OpContext) -> KerasCode:
    """As `AveragePooling2D`, which counts no padding; where some counts, it is filled first."""
    w, beyond = pooling_window(op)
    x, counted = image(op), bool(op.attrs.get("count_include_pad", 0))
    dilated = max(w.dilations) > 1
    if w.same and not counted and not dilated and not w.ceil_mode:
        return finish(op, pool_layer(w, "AveragePooling", "same")(x))
    if is_turned(op, w) and not counted:
        return finish(op, turned(pool_layer(w, "AveragePooling", "same")(turned(x, w)), w))
    if counted and (total := _same_sums(op, x, w)) is not None:
        return finish(op, call("ops.divide", total, math.prod(w.size)))
    explicit(op, w)
    if w.padded and counted:
        x = zero_padded(x, w.pads)
    rest = beyond if counted else join(w.pads, beyond)
    if any(map(any, rest)):
        ones = padded(call("ops.ones_like", x[:1, ..., :1]), rest)
        return finish(op, call("ops.divide", _mean(padded(x, rest), w), _mean(ones, w)))
    if dilated:
        return finish(op, _mean(x, w))
    return finish(op, pool_layer(w, "AveragePooling")(x))


def _mean(x: KerasExpr, w: Window) -> KerasExpr:
    """The mean of every window, padding included."""
    if max(w.dilations) > 1:
        return call("ops.mean", windows(x, w), axis=0)
    size, strides = alike(w.size), alike(w.strides)
    return call("ops.average_pool", x, size, strides=unless(strides, size))


def _same_sums(op: OpContext, x: KerasExpr, w: Window) -> KerasExpr | None:
    """The sum of every window, zeros around the image, of which Keras knows how many; else None."""
    back, apart = is_turned(op, w), len(w.size) > 2 or len(set(w.strides)) > 1
    if apart or max(w.dilations) > 1 or not (back or (w.pads_by_size and w.same)) or w.ceil_mode:
        return None
    ones = call("ops.ones", (*w.size, op.shape()[1], 1))
    how = {"strides": w.strides[0], "padding": "same"}
    total = call("ops.depthwise_conv", turned(x, w) if back else x, ones, **how)
    return turned(total, w) if back else total


@operator("LpPool", 11, 18, 22)
def lp_pool(op: OpContext) -> KerasCode:
    """The p-norm of every window."""
    w, beyond = pooling_window(op)
    x, pads, power = image(op), join(w.pads, beyond), op.attrs.get("p", 2)
    total = _same_sums(op, powers(x, power), w)
    if total is None:
        explicit(op, w)
        if any(map(any, pads)):
            x = zero_padded(x, pads)
        total = call("ops.multiply", _mean(powers(x, power), w), math.prod(w.size))
    return finish(op, root(total, power))


def powers(x: KerasExpr, power: int) -> KerasExpr:
    """What is summed for a p-norm."""
    if power == 2:
        return call("ops.square", x)
    absolute = call("ops.abs", x)
    return absolute if power == 1 else call("ops.power", absolute, power)


def root(total: KerasExpr, power: int) -> KerasExpr:
    """The p-norm of that sum."""
    if power == 2:
        return call("ops.sqrt", total)
    return total if power == 1 else call("ops.power", total, Literal(1 / power))


@operator("GlobalAveragePool", 1, 22)
def global_average_pool(op: OpContext) -> KerasCode:
    """The mean over space."""
    return _global(op, "GlobalAveragePooling", "ops.mean")


@operator("GlobalMaxPool", 1, 22)
def global_max_pool(op: OpContext) -> KerasCode:
    """The largest over space."""
    return _global(op, "GlobalMaxPooling", "ops.max")


@operator("GlobalLpPool", 2, 22)
def global_lp_pool(op: OpContext) -> KerasCode:
    """The p-norm over space."""
    power, axes = op.attrs.get("p", 2), tuple(range(1, len(op.shape()) - 1))
    total = call("ops.sum", powers(image(op), power), axis=axes, keepdims=True)
    return finish(op, root(total, power))


def _global(op: OpContext, kind: str, function: str) -> KerasCode:
    rank = len(op.shape()) - 2
    if 1 <= rank <= 3:
        return finish(op, layer(f"{kind}{rank}D", keepdims=True)(image(op)))
    axes = tuple(range(1, rank + 1))
    return finish(op, call(function, image(op), axis=axes, keepdims=True))
