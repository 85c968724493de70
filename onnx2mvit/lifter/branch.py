"""A value as one convolution of another: what branches are while they are added up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import numpy as np

from onnx2mvit.ir.graph import Node, Value

Array = np.ndarray[Any, Any]
Weights = tuple[Array, Array]  # (filters, channels / groups, rows, columns) and (filters,)


@dataclass(frozen=True)
class Axis:
    """How a kernel lies along an axis of space.

    Attributes:
        size: how many elements it has.
        first: where the first of them is, counted from the pixel that the result is for.
        beyond: how many pixels there are behind the image, padding and all, less `last`.
        dilation: pixels from one element to the next.
    """

    size: int = 1
    first: int = 0
    beyond: int = 0
    dilation: int = 1

    @property
    def last(self) -> int:
        """Where its last element is."""
        return self.first + (self.size - 1) * self.dilation

    def joined(self, other: Axis) -> Axis | None:
        """The axis of a kernel in which both have their place, if there is one."""
        steps = {axis.dilation for axis in (self, other) if axis.size > 1} or {1}
        step, first, last = max(steps), min(self.first, other.first), max(self.last, other.last)
        apart = (self.first - other.first) % step
        # As many results for images of every length, and no more padding than ONNX has.
        alike = self.beyond == other.beyond and first <= 0 <= last + self.beyond
        if len(steps) > 1 or apart or not alike:
            return None
        return Axis((last - first) // step + 1, first, self.beyond, step)


@dataclass(frozen=True)
class Branch:
    """A value as a convolution of another one, its `source` (B, channels, H, W).

    Attributes:
        filters, groups, strides: as of ONNX Conv.
        axes: how the kernel lies over rows and columns.
        weights: works out kernel and bias, in float64.
        nodes: those that it stands for.
        terms: how many branches it is the sum of.
        has_conv: whether one of them is a convolution in the file.
    """

    source: Value
    filters: int
    groups: int
    strides: tuple[int, ...]
    axes: tuple[Axis, ...]
    weights: Callable[[], Weights]
    nodes: frozenset[Node] = frozenset()
    terms: int = 1
    has_conv: bool = False

    @property
    def is_scale(self) -> bool:
        """True for a factor for each channel, which groups of any size can hold."""
        channels = (self.source.shape or ())[1]
        return self.axes == (Axis(), Axis()) and self.groups == self.filters == channels

    def scaled(self, factor: Array, offset: Array | float, node: Node) -> Branch:
        """This times a factor for each filter, plus an offset."""

        def weights() -> Weights:
            kernel, bias = self.weights()
            return kernel * factor.reshape(-1, 1, 1, 1), bias * factor + offset

        return replace(self, weights=weights, nodes=self.nodes | {node})

    def plus(self, other: Branch, sign: int, node: Node) -> Branch | None:
        """The sum with another branch, or the difference; None where it is no convolution."""
        alike = (self.source, self.strides, self.filters)
        if alike != (other.source, other.strides, other.filters):
            return None
        joined = [a.joined(b) for a, b in zip(self.axes, other.axes, strict=True)]
        axes = tuple(axis for axis in joined if axis is not None)
        groups = min(self.groups, other.groups)
        fits = all(each.groups == groups or each.is_scale for each in (self, other))
        if len(axes) < len(joined) or not fits:
            return None

        def weights() -> Weights:
            kernel, bias = self.placed(groups, axes)
            more, offset = other.placed(groups, axes)
            return kernel + sign * more, bias + sign * offset

        return Branch(
            self.source,
            self.filters,
            groups,
            self.strides,
            axes,
            weights,
            self.nodes | other.nodes | {node},
            self.terms + other.terms,
            self.has_conv or other.has_conv,
        )

    def placed(self, groups: int, axes: tuple[Axis, ...]) -> Weights:
        """The same weights in a kernel of so many groups and as large as these axes."""
        kernel, bias = self.weights()
        if groups != self.groups:
            filter_, each = np.arange(self.filters), self.filters // groups
            grouped = np.zeros((self.filters, each, 1, 1))
            grouped[filter_, filter_ % each] = kernel[:, 0]
            kernel = grouped
        around = [(0, 0), (0, 0)]
        for own, whole in zip(self.axes, axes, strict=True):
            before = (own.first - whole.first) // whole.dilation
            around.append((before, whole.size - before - own.size))
        return np.pad(kernel, around), bias

    def conv(self, root: Node) -> Node:
        """It as a convolution in the place of its last node."""
        kernel, bias = (np.asarray(array, np.float32) for array in self.weights())
        name = root.output.name
        modules = zip(*(node.scope.split(".") for node in self.nodes), strict=False)
        around = [module[0] for module in takewhile(lambda m: len({*m}) == 1, modules)]
        return Node(
            "Conv",
            (
                self.source,
                Value(f"{name}/kernel", kernel.shape, kernel.dtype, kernel),
                Value(f"{name}/bias", bias.shape, bias.dtype, bias),
            ),
            (root.output,),
            {
                "kernel_shape": kernel.shape[2:],
                "strides": self.strides,
                "dilations": tuple(axis.dilation for axis in self.axes),
                "pads": (
                    *(-axis.first for axis in self.axes),
                    *(axis.last + axis.beyond for axis in self.axes),
                ),
                "group": self.groups,
            },
            name=root.name,
            scope=".".join(around) or root.scope,
            position=root.position,
        )
