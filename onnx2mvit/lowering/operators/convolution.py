"""Convolutions over sequences, images and volumes, with any window."""

from __future__ import annotations

from onnx2mvit.ir.layout import channels_last
from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.lowering.operators.step import Code, Step
from onnx2mvit.lowering.operators.text import alike, cut, layer, unless
from onnx2mvit.lowering.operators.window import window, zero_padded


@operator("Conv", 11, 22)
def conv(step: Step) -> Code:
    """As `Conv2D` or `DepthwiseConv2D` and those of other ranks.

    ONNX's kernel is (filters, channels / groups, …), Keras's (…, channels / groups, filters).
    """
    kernel, group = step.const(1), step.attrs.get("group", 1)
    filters, per_group, *size = kernel.shape
    w, rank = window(step, size), len(size)
    # Keras has no steps in a dilated convolution; TensorFlow none that differ in a depthwise one.
    sparse = max(w.strides) > 1 and max(w.dilations) > 1
    even = len(set(w.strides)) == 1 and len(set(w.dilations)) == 1
    depthwise = per_group == 1 < group and rank < 3 and even
    strides = (1,) * rank if sparse else w.strides
    space = tuple(range(2, rank + 2))
    options = {
        "strides": unless(alike(strides), 1),
        "padding": "same" if w.same and not sparse else None,
        "dilation_rate": unless(alike(w.dilations), 1),
        "use_bias": None if has_bias(step) else False,
    }
    if depthwise:
        multiplier = unless(filters // group, 1)
        text = layer(f"DepthwiseConv{rank}D", alike(size), depth_multiplier=multiplier, **options)
        # The filters of a channel follow each other.
        kernel = kernel.reshape(group, filters // group, *size)
        step.weights["kernel"] = kernel.transpose(*space, 0, 1)
    else:
        groups = unless(group, 1)
        text = layer(f"Conv{rank}D", filters, alike(size), **options, groups=groups)
        step.weights["kernel"] = kernel.transpose(*space, 1, 0)
    x = image(step)
    if w.padded and options["padding"] is None:
        x = zero_padded(x, w.pads)
    text = f"{text}({x})"
    if sparse:
        text = cut(text, [":", *(f"::{stride}" if stride > 1 else ":" for stride in w.strides)])
    return step.code(text, channels_last(rank + 2))


def image(step: Step) -> str:
    """The input with its channels last."""
    rank = len(step.shape())
    step.keep_apart(range(1, rank))
    return step.data(0, channels_last(rank))


def has_bias(step: Step) -> bool:
    """True if there is a bias, which becomes a weight."""
    if not step.has(2):
        return False
    step.weights["bias"] = step.const(2)
    return True
