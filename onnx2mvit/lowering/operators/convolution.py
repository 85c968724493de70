"""Convolutions over sequences, images and volumes, with any window."""

from __future__ import annotations

import numpy as np

from onnx2mvit.ir.code import KerasCode
from onnx2mvit.ir.expr import KerasExpr, alike, layer, unless
from onnx2mvit.ir.kernels import conv_kernel, depthwise_kernel
from onnx2mvit.ir.layout import channels_last
from onnx2mvit.lowering.operators.context import OpContext
from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.lowering.operators.window import explicit, is_turned, turned, window, zero_padded


@operator("Conv", 11, 22)
def conv(op: OpContext) -> KerasCode:
    """As `Conv2D` or `DepthwiseConv2D` and those of other ranks.

    ONNX's kernel is (filters, channels / groups, …), Keras's (…, channels / groups, filters).
    """
    kernel, group = op.const(1), op.attrs.get("group", 1)
    filters, per_group, *size = kernel.shape
    w, rank = window(op), len(size)
    # Keras has no steps in a dilated convolution; TensorFlow none that differ in a depthwise one.
    sparse = max(w.strides) > 1 and max(w.dilations) > 1
    even = len(set(w.strides)) == 1 and len(set(w.dilations)) == 1
    depthwise = per_group == 1 < group and rank < 3 and even
    strides = (1,) * rank if sparse else w.strides
    turns = is_turned(op, w) and not sparse
    if turns:
        kernel = np.flip(kernel, tuple(range(2, rank + 2)))
    options = {
        "strides": unless(alike(strides), 1),
        "padding": "same" if (w.same or turns) and not sparse else None,
        "dilation_rate": unless(alike(w.dilations), 1),
        "use_bias": None if has_bias(op) else False,
    }
    if depthwise:
        multiplier = unless(filters // group, 1)
        made = layer(f"DepthwiseConv{rank}D", alike(size), depth_multiplier=multiplier, **options)
        op.weights["kernel"] = depthwise_kernel(kernel, group)
    else:
        groups = unless(group, 1)
        made = layer(f"Conv{rank}D", filters, alike(size), **options, groups=groups)
        op.weights["kernel"] = conv_kernel(kernel)
    x = image(op)
    if options["padding"] is None:
        explicit(op, w)
        x = zero_padded(x, w.pads) if w.padded else x
    x = turned(made(turned(x, w)), w) if turns else made(x)
    if sparse:
        x = x[slice(None), *(slice(None, None, stride) for stride in w.strides)]
    return op.code(x, channels_last(rank + 2))


def image(op: OpContext) -> KerasExpr:
    """The input with its channels last."""
    rank = len(op.shape())
    op.forbid_batch_reduction(range(1, rank))
    return op.data(0, channels_last(rank))


def has_bias(op: OpContext) -> bool:
    """True if there is a bias, which becomes a weight."""
    if not op.has(2):
        return False
    op.weights["bias"] = op.const(2)
    return True
