"""Operators in NumPy that ONNX's reference implementation takes minutes for, or lacks.

And BatchNormalization below operator version 14, in which the reference mixes the statistics of the
images at hand into those of the file (onnx 1.23), as training does.

Each takes an operator's attributes and inputs, and answers None where it is left to the reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import helper

Array = np.ndarray[Any, Any]
Attributes = Mapping[str, Any]


@dataclass(frozen=True)
class _Windows:
    """The places of a kernel on a padded image."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: list[tuple[int, int]]

    def taps(self, image: Array, value: float) -> Iterator[tuple[tuple[int, ...], Array]]:
        """For each place in the kernel all that stands under it, out of an image padded by it."""
        rank = len(self.kernel)
        around = [(0, 0)] * (image.ndim - rank)
        padded = np.pad(image, [*around, *self.pads], constant_values=value)
        counts = [
            (length - (size - 1) * dilation - 1) // stride + 1
            for length, size, dilation, stride in zip(
                padded.shape[-rank:], self.kernel, self.dilations, self.strides, strict=True
            )
        ]
        for tap in np.ndindex(*self.kernel):
            places = tuple(
                slice(at * dilation, at * dilation + (count - 1) * stride + 1, stride)
                for at, dilation, stride, count in zip(
                    tap, self.dilations, self.strides, counts, strict=True
                )
            )
            yield tap, padded[(slice(None),) * (image.ndim - rank) + places]


def _windows(attributes: Attributes, image: Array, kernel: tuple[int, ...]) -> _Windows | None:
    """None where pads are to be found out, or windows may reach over the end.

    One that reaches over all of the image is as large as that, whatever the kernel says: Hugging
    Face's EfficientNet has its number of channels there.
    """
    if attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        return None
    ones = (1,) * len(kernel)
    pads = attributes.get("pads", (0,) * 2 * len(kernel))
    if attributes.get("ceil_mode", 0):
        space = image.shape[-len(kernel) :]
        whole = all(size >= length for size, length in zip(kernel, space, strict=True))
        if not whole or any(pads) or {*attributes.get("dilations", ones)} != {1}:
            return None
        return _Windows(kernel=space, strides=ones, dilations=ones, pads=[(0, 0)] * len(space))
    return _Windows(
        kernel=kernel,
        strides=tuple(attributes.get("strides", ones)),
        dilations=tuple(attributes.get("dilations", ones)),
        pads=list(zip(pads[: len(kernel)], pads[len(kernel) :], strict=True)),
    )


def _conv(attributes: Attributes, x: Array, w: Array, b: Array | None = None) -> Array | None:
    windows = _windows(attributes, x, w.shape[2:])
    if windows is None:
        return None
    group, batch = attributes.get("group", 1), len(x)
    weights = w.reshape(group, -1, *w.shape[1:])
    total: Array | None = None
    for tap, part in windows.taps(x, 0.0):
        columns = part.reshape(batch, group, w.shape[1], -1)
        one = weights[(slice(None),) * 3 + tap] @ columns
        total = one if total is None else np.add(total, one, out=total)
    assert total is not None
    made = total.reshape(batch, len(w), *part.shape[2:])
    return made if b is None else made + b.reshape(-1, *(1,) * (x.ndim - 2))


def _batch_normalization(
    attributes: Attributes, x: Array, gamma: Array, beta: Array, mean: Array, variance: Array
) -> Array | None:
    if attributes.get("training_mode", 0):
        return None
    shape = (-1, *(1,) * (x.ndim - 2))
    gamma, beta, mean, variance = (each.reshape(shape) for each in (gamma, beta, mean, variance))
    made: Array = (x - mean) / np.sqrt(variance + attributes.get("epsilon", 1e-5)) * gamma + beta
    return made


def _group_normalization(attributes: Attributes, x: Array, gamma: Array, beta: Array) -> Array:
    """The reference takes mean and deviation in float32. Below version 21 a scale is a group's."""
    groups, channels = attributes["num_groups"], x.shape[1]
    each = x.reshape(len(x), groups, -1)
    centred = each - each.mean(-1, keepdims=True)
    variance = np.square(centred).mean(-1, keepdims=True)
    normalized = centred / np.sqrt(variance + attributes.get("epsilon", 1e-5))
    shape = (-1, *(1,) * (x.ndim - 2))
    gamma, beta = (part.repeat(channels // len(part)).reshape(shape) for part in (gamma, beta))
    made: Array = normalized.reshape(x.shape) * gamma + beta
    return made


def _max_pool(attributes: Attributes, x: Array) -> Array | None:
    windows = _windows(attributes, x, tuple(attributes["kernel_shape"]))
    if windows is None:
        return None
    made: Array = np.maximum.reduce([part for _, part in windows.taps(x, -np.inf)])
    return made


def _average_pool(attributes: Attributes, x: Array) -> Array | None:
    windows = _windows(attributes, x, tuple(attributes["kernel_shape"]))
    if windows is None:
        return None
    outside = 1.0 if attributes.get("count_include_pad", 0) else 0.0
    ones = np.ones((1, 1, *x.shape[2:]))
    seen = np.add.reduce([part for _, part in windows.taps(ones, outside)])
    made: Array = np.add.reduce([part for _, part in windows.taps(x, 0.0)]) / seen
    return made


def _global_lp_pool(attributes: Attributes, x: Array) -> Array:
    power, space = attributes.get("p", 2), tuple(range(2, x.ndim))
    made: Array = (np.abs(x) ** power).sum(axis=space, keepdims=True) ** (1 / power)
    return made


def _resize(
    attributes: Attributes,
    x: Array,
    roi: Array | None = None,
    scales: Array | None = None,
    sizes: Array | None = None,
) -> Array | None:
    """Axis by axis, as each is resized by itself: by the matrix that the reference makes of it."""
    from onnx.reference import ReferenceEvaluator

    unusual = {"axes", "antialias", "keep_aspect_ratio_policy"} & attributes.keys()
    if unusual or attributes.get("coordinate_transformation_mode") == b"tf_crop_and_resize":
        return None
    given = sizes if sizes is not None else scales
    assert given is not None
    kind = "sizes" if sizes is not None else "scales"
    info = helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), None)
    names = ["x", "", "", "given"] if sizes is not None else ["x", "", "given"]
    node = helper.make_node("Resize", names, ["y"], **attributes)
    of = helper.np_dtype_to_tensor_dtype(given.dtype)
    graph = helper.make_graph(
        [node],
        kind,
        [info, helper.make_tensor_value_info("given", of, None)],
        [helper.make_empty_tensor_value_info("y")],
    )
    one = ReferenceEvaluator(helper.make_model(graph))
    for axis, (length, wanted) in enumerate(zip(x.shape, given, strict=True)):
        if math.isclose(wanted, length if sizes is not None else 1):
            continue
        how = given[axis : axis + 1]
        rows: list[Any] = [one.run(None, {"x": row, "given": how}) for row in np.eye(length)]
        matrix = np.stack([row for (row,) in rows])
        x = np.moveaxis(np.moveaxis(x, axis, -1) @ matrix, -1, axis)
    return x


def _shares(mode: bytes, distance: Array) -> Array:
    """How much a pixel counts for a place that is so far away from it."""
    if mode == b"nearest":
        return np.ones_like(distance)
    if mode in (b"linear", b"bilinear"):
        made: Array = 1 - distance
        return made
    a = -0.75  # Keys' cubic convolution, as PyTorch has it
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, far)


def _grid_sample(attributes: Attributes, x: Array, grid: Array) -> Array | None:
    """The reference goes pixel by pixel, and does not know the modes' names of before opset 20."""
    if x.ndim != 4:
        return None
    mode = attributes.get("mode", b"linear")
    padding, corners = attributes.get("padding_mode", b"zeros"), attributes.get("align_corners", 0)
    beside = {b"nearest": (0,), b"cubic": (-1, 0, 1, 2), b"bicubic": (-1, 0, 1, 2)}
    axes: list[list[tuple[Array, Array]]] = []
    for length, places in zip(x.shape[2:], (grid[..., 1], grid[..., 0]), strict=True):
        first, last = (0.0, length - 1.0) if corners else (-0.5, length - 0.5)
        at = first + (places + 1) / 2 * (last - first)
        start = np.rint(at) if mode == b"nearest" else np.floor(at)
        axes.append([])
        for pixel in (start + number for number in beside.get(mode, (0, 1))):
            share, there = _shares(mode, abs(at - pixel)), pixel
            if padding == b"zeros":
                share = share * ((pixel >= 0) & (pixel < length))
            elif padding == b"reflection":
                turn = (pixel - first) % (2 * (last - first) or 1)
                there = first + np.minimum(turn, 2 * (last - first) - turn)
            axes[-1].append((there.clip(0, length - 1).astype(int), share))
    image = np.arange(len(x)).reshape(-1, 1, 1)
    rows, columns = axes
    total: Array = sum(
        (x[image, :, row, column] * (down * across)[..., None])
        for row, down in rows
        for column, across in columns
    )
    return np.moveaxis(total, -1, 1)


def _dequantize_linear(
    attributes: Attributes, x: Array, scale: Array, zero: Array | None = None
) -> Array | None:
    """The reference has none below opset 19; blocks came later."""
    if attributes.get("block_size", 0):
        return None
    after = x.ndim - 1 - attributes.get("axis", 1) % max(x.ndim, 1)

    def along(array: Array) -> Array:
        wide: Array = array.astype(np.float64)
        return wide.reshape(-1, *(1,) * after) if wide.ndim else wide

    numbers: Array = x.astype(np.float64)
    return (numbers if zero is None else numbers - along(zero)) * along(scale)


def _mean_variance_normalization(attributes: Attributes, x: Array) -> Array:
    """The reference has a constant of float32 in it. Without `axes` over all but the channels."""
    axes = tuple(attributes.get("axes", (0, 2, 3)))
    centred = x - x.mean(axes, keepdims=True)
    deviation = np.sqrt(np.square(centred).mean(axes, keepdims=True))
    made: Array = centred / (deviation + 1e-9)
    return made


KERNELS: dict[str, Callable[..., Array | None]] = {
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_normalization,
    "Conv": _conv,
    "DequantizeLinear": _dequantize_linear,
    "GlobalLpPool": _global_lp_pool,
    "GridSample": _grid_sample,
    "GroupNormalization": _group_normalization,
    "MaxPool": _max_pool,
    "MeanVarianceNormalization": _mean_variance_normalization,
    "Resize": _resize,
}
