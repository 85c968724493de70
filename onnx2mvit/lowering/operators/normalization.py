"""Normalization, over the batch as it was learned, or over axes of each image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnx2mvit.ir.code import KerasCode
from onnx2mvit.ir.expr import call, layer, unless
from onnx2mvit.ir.keras_layers import BATCH_NORM_WEIGHTS, batch_norm, epsilon
from onnx2mvit.ir.layout import Order, plain
from onnx2mvit.lowering.operators.context import OpContext
from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.matcher.rooted import TRAINING, Array, require


def channel_axis(op: OpContext) -> int | None:
    """Where ONNX's channels stand in the Keras tensor; None if last, as Keras has them."""
    require(len(op.shape()) > 1, "it has no channels")
    op.forbid_batch_reduction([1])
    op.has_lengths_of([1])
    axis = op.layout().order.index(1)
    return None if axis == len(op.shape()) - 1 else axis


def per_channel(op: OpContext, index: int) -> Array:
    """A constant with a number for each channel; Mismatch if it is not that."""
    array = op.const(index)
    require(array.shape == op.shape()[1:2], f"input {index} is not one per channel")
    return array


@operator("BatchNormalization", 9, 14, 15)
def batch_normalization(op: OpContext) -> KerasCode:
    """At inference."""
    require(not op.attrs.get("training_mode"), TRAINING)
    axis = channel_axis(op)
    for index, name in enumerate(BATCH_NORM_WEIGHTS, start=1):
        op.weights[name] = per_channel(op, index)
    numbers = batch_norm(op.node)
    momentum = unless(numbers["momentum"], 0.99)
    norm = layer("BatchNormalization", axis=axis, momentum=momentum, epsilon=numbers["epsilon"])
    return op.code(norm(op.data()))


@operator("InstanceNormalization", 6, 22)
def instance_normalization(op: OpContext) -> KerasCode:
    """Over the space of each channel: a group for each of them."""
    gamma, beta = per_channel(op, 1), per_channel(op, 2)
    return _groups(op, -1, gamma, beta)


@operator("GroupNormalization", 18)
def group_normalization_of_groups(op: OpContext) -> KerasCode:
    """Its first version has one scale and one bias for each group; our rules write the later."""
    groups, channels = op.attrs["num_groups"], op.shape()[1]
    gamma, beta = op.const(1), op.const(2)
    if gamma.shape == beta.shape == (channels,):
        return group_normalization(op)
    require(gamma.shape == beta.shape == (groups,), "it has not one scale per group")
    each = channels // groups
    return _groups(op, groups, gamma.repeat(each), beta.repeat(each))


@operator("GroupNormalization", 21)
def group_normalization(op: OpContext) -> KerasCode:
    """Over the space and the channels of each group."""
    return _groups(op, op.attrs["num_groups"], per_channel(op, 1), per_channel(op, 2))


def _groups(op: OpContext, groups: int, gamma: Array, beta: Array) -> KerasCode:
    rank = len(op.shape())
    op.forbid_batch_reduction(range(1, rank))
    layout = op.layout()
    require(layout.order[0] == 0, "the batch is not its first axis")
    scaled = bool((gamma != 1).any() or beta.any())
    if scaled:
        op.weights |= {"gamma": gamma, "beta": beta}
    norm = layer(
        "GroupNormalization",
        groups,
        axis=channel_axis(op),
        epsilon=epsilon(op.node),
        center=None if scaled else False,
        scale=None if scaled else False,
    )
    return op.code(norm(op.data()))


def _at_the_end(op: OpContext) -> tuple[Order, int]:
    """An order with the axes from `axis` on at its end, and how many they are.

    On PyTorch Keras's layers go over axes at the end alone (Keras 3.15).
    """
    rank, order = len(op.shape()), op.layout().order
    first = op.axis(op.attrs.get("axis", -1))
    op.forbid_batch_reduction(range(first, rank))
    if set(order[first:]) != set(range(first, rank)):
        order = plain(rank)
    op.has_lengths_of(range(first, rank))
    return order, rank - first


def _spread(op: OpContext, array: Array, axes: Sequence[int]) -> Array:
    """A constant with a number for each element of these axes, in their order."""
    first, shape = min(axes), op.shape()
    require(array.ndim <= len(shape) - first, "its scale is different for what it goes over")
    lengths = zip(reversed(array.shape), reversed(shape), strict=False)
    require(all(own in (1, full) for own, full in lengths), "its scale has another shape")
    full = np.broadcast_to(array, shape[first:])
    return np.ascontiguousarray(full.transpose([axis - first for axis in axes]))


@operator("LayerNormalization", 17)
def layer_normalization(op: OpContext) -> KerasCode:
    """Over the last axes."""
    order, count = _at_the_end(op)
    op.weights["gamma"] = _spread(op, op.const(1), order[-count:])
    if op.has(2):
        op.weights["beta"] = _spread(op, op.const(2), order[-count:])
    norm = layer(
        "LayerNormalization",
        axis=_axes(order, count),
        epsilon=epsilon(op.node),
        center=None if op.has(2) else False,
    )
    return op.code(norm(op.data(0, order)), order)


@operator("RMSNormalization", 23)
def rms_normalization(op: OpContext) -> KerasCode:
    """The same without the mean and a bias."""
    order, count = _at_the_end(op)
    op.weights["scale"] = _spread(op, op.const(1), order[-count:])
    usual = unless(epsilon(op.node), 1e-6)
    norm = layer("RMSNormalization", axis=_axes(order, count), epsilon=usual)
    return op.code(norm(op.data(0, order)), order)


def _axes(order: Order, count: int) -> tuple[int, ...] | None:
    """The last axes as Keras takes them; None where it is the last alone."""
    return None if count == 1 else tuple(range(len(order) - count, len(order)))


@operator("LpNormalization", 1, 22)
def lp_normalization(op: OpContext) -> KerasCode:
    """To length one along an axis, by the sum of squares or of absolute values."""
    axis, power = op.axis(op.attrs.get("axis", -1)), op.attrs.get("p", 2)
    op.forbid_batch_reduction([axis])
    where = unless(op.layout().order.index(axis), len(op.shape()) - 1)
    if power == 2:
        return op.code(layer("UnitNormalization", axis=where)(op.data()))
    return op.code(call("ops.normalize", op.data(), axis=where, order=power, epsilon=1e-12))


@operator("MeanVarianceNormalization", 9, 13)
def mean_variance_normalization(op: OpContext) -> KerasCode:
    """Mean 0 and deviation 1 over some axes."""
    axes = [op.axis(axis) for axis in op.attrs.get("axes", (0, 2, 3))]
    op.forbid_batch_reduction(axes)
    x, order = op.data(), op.layout().order
    where = tuple(sorted(order.index(axis) for axis in axes))
    mean, deviation = (
        call(f"ops.{name}", x, axis=where, keepdims=True) for name in ("mean", "std")
    )
    centred = call("ops.subtract", x, mean)
    return op.code(call("ops.divide", centred, call("ops.add", deviation, 1e-9)))


@operator("LRN", 1, 13)
def local_response_normalization(op: OpContext) -> KerasCode:
    """By the squares of the channels nearby (AlexNet)."""
    axis = channel_axis(op)
    require(3 <= len(op.shape()) <= 5, "it is no image")
    x = call(
        "local_response_normalization",
        op.data(),
        op.attrs["size"],
        alpha=op.attrs.get("alpha", 1e-4),
        beta=op.attrs.get("beta", 0.75),
        bias=op.attrs.get("bias", 1.0),
        axis=axis,
    )
    return op.code(x)
