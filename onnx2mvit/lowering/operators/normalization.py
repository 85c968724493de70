"""Normalization, over the batch as it was learned, or over axes of each image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnx2mvit.ir.layout import Order, plain
from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.lowering.operators.step import Code, Step
from onnx2mvit.lowering.operators.text import Raw, call, layer, unless
from onnx2mvit.matcher.pattern import TRAINING, Array, require


def channel_axis(step: Step) -> int | None:
    """Where ONNX's channels stand in the Keras tensor; None if last, as Keras has them."""
    require(len(step.shape()) > 1, "it has no channels")
    step.keep_apart([1])
    axis = step.place().order.index(1)
    return None if axis == len(step.shape()) - 1 else axis


def per_channel(step: Step, index: int) -> Array:
    """A constant with a number for each channel; Mismatch if it is not that."""
    array = step.const(index)
    require(array.shape == step.shape()[1:2], f"input {index} is not one per channel")
    return array


def answer(step: Step, text: str) -> Code:
    """A layer on the input in the order that is there."""
    return step.code(f"{text}({step.data()})", step.place().order)


@operator("BatchNormalization", 9, 14, 15)
def batch_normalization(step: Step) -> Code:
    """At inference; ONNX's momentum is the share of the old statistic that is kept, as Keras's."""
    require(not step.attrs.get("training_mode"), TRAINING)
    axis = channel_axis(step)
    for index, name in enumerate(("gamma", "beta", "moving_mean", "moving_variance"), start=1):
        step.weights[name] = per_channel(step, index)
    momentum = unless(step.attrs.get("momentum", 0.9), 0.99)
    epsilon = step.attrs.get("epsilon", 1e-5)
    return answer(step, layer("BatchNormalization", axis=axis, momentum=momentum, epsilon=epsilon))


@operator("InstanceNormalization", 6, 22)
def instance_normalization(step: Step) -> Code:
    """Over the space of each channel: a group for each of them."""
    gamma, beta = per_channel(step, 1), per_channel(step, 2)
    return _groups(step, -1, gamma, beta)


@operator("GroupNormalization", 18)
def group_normalization_of_groups(step: Step) -> Code:
    """Its first version has one scale and one bias for each group; our rules write the later."""
    groups, channels = step.attrs["num_groups"], step.shape()[1]
    gamma, beta = step.const(1), step.const(2)
    if gamma.shape == beta.shape == (channels,):
        return group_normalization(step)
    require(gamma.shape == beta.shape == (groups,), "it has not one scale per group")
    each = channels // groups
    return _groups(step, groups, gamma.repeat(each), beta.repeat(each))


@operator("GroupNormalization", 21)
def group_normalization(step: Step) -> Code:
    """Over the space and the channels of each group."""
    return _groups(step, step.attrs["num_groups"], per_channel(step, 1), per_channel(step, 2))


def _groups(step: Step, groups: int, gamma: Array, beta: Array) -> Code:
    rank = len(step.shape())
    step.keep_apart(range(1, rank))
    place = step.place()
    require(place.order[0] == 0, "the batch is not its first axis")
    scaled = bool((gamma != 1).any() or beta.any())
    if scaled:
        step.weights |= {"gamma": gamma, "beta": beta}
    text = layer(
        "GroupNormalization",
        groups,
        axis=channel_axis(step),
        epsilon=step.attrs.get("epsilon", 1e-5),
        center=None if scaled else False,
        scale=None if scaled else False,
    )
    return answer(step, text)


def _at_the_end(step: Step) -> tuple[Order, int]:
    """An order with the axes from `axis` on at its end, and how many they are.

    On PyTorch Keras's layers go over axes at the end alone (Keras 3.15).
    """
    rank, order = len(step.shape()), step.place().order
    first = step.axis(step.attrs.get("axis", -1))
    step.keep_apart(range(first, rank))
    if set(order[first:]) != set(range(first, rank)):
        order = plain(rank)
    step.fixed_size = first < rank - 1
    return order, rank - first


def _spread(step: Step, array: Array, axes: Sequence[int]) -> Array:
    """A constant with a number for each element of these axes, in their order."""
    first, shape = min(axes), step.shape()
    require(array.ndim <= len(shape) - first, "its scale is different for what it goes over")
    lengths = zip(reversed(array.shape), reversed(shape), strict=False)
    require(all(own in (1, full) for own, full in lengths), "its scale has another shape")
    full = np.broadcast_to(array, shape[first:])
    return np.ascontiguousarray(full.transpose([axis - first for axis in axes]))


@operator("LayerNormalization", 17)
def layer_normalization(step: Step) -> Code:
    """Over the last axes."""
    order, count = _at_the_end(step)
    step.weights["gamma"] = _spread(step, step.const(1), order[-count:])
    if step.has(2):
        step.weights["beta"] = _spread(step, step.const(2), order[-count:])
    text = layer(
        "LayerNormalization",
        axis=_axes(order, count),
        epsilon=step.attrs.get("epsilon", 1e-5),
        center=None if step.has(2) else False,
    )
    return step.code(f"{text}({step.data(0, order)})", order)


@operator("RMSNormalization", 23)
def rms_normalization(step: Step) -> Code:
    """The same without the mean and a bias."""
    order, count = _at_the_end(step)
    step.weights["scale"] = _spread(step, step.const(1), order[-count:])
    epsilon = unless(step.attrs.get("epsilon", 1e-5), 1e-6)
    text = layer("RMSNormalization", axis=_axes(order, count), epsilon=epsilon)
    return step.code(f"{text}({step.data(0, order)})", order)


def _axes(order: Order, count: int) -> tuple[int, ...] | None:
    """The last axes as Keras takes them; None where it is the last alone."""
    return None if count == 1 else tuple(range(len(order) - count, len(order)))


@operator("LpNormalization", 1, 22)
def lp_normalization(step: Step) -> Code:
    """To length one along an axis, by the sum of squares or of absolute values."""
    axis, power = step.axis(step.attrs.get("axis", -1)), step.attrs.get("p", 2)
    step.keep_apart([axis])
    where = unless(step.place().order.index(axis), len(step.shape()) - 1)
    if power == 2:
        return answer(step, layer("UnitNormalization", axis=where))
    text = call("ops.normalize", Raw(step.data()), axis=where, order=power, epsilon=1e-12)
    return step.code(text, step.place().order)


@operator("MeanVarianceNormalization", 9, 13)
def mean_variance_normalization(step: Step) -> Code:
    """Mean 0 and deviation 1 over some axes."""
    axes = [step.axis(axis) for axis in step.attrs.get("axes", (0, 2, 3))]
    step.keep_apart(axes)
    x, order = step.data(), step.place().order
    over = f"axis={tuple(sorted(order.index(axis) for axis in axes))}, keepdims=True"
    centred = f"ops.subtract({x}, ops.mean({x}, {over}))"
    return step.code(f"ops.divide({centred}, ops.add(ops.std({x}, {over}), 1e-09))", order)


@operator("LRN", 1, 13)
def local_response_normalization(step: Step) -> Code:
    """By the squares of the channels nearby (AlexNet)."""
    axis = channel_axis(step)
    text = call(
        "local_response_normalization",
        Raw(step.data()),
        step.attrs["size"],
        alpha=step.attrs.get("alpha", 1e-4),
        beta=step.attrs.get("beta", 0.75),
        bias=step.attrs.get("bias", 1.0),
        axis=axis,
    )
    return step.code(text, step.place().order)
