"""An expression that ends in one node, as patterns and rules have it, and how one is refused."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from onnx2mvit.base.numbers import ratio
from onnx2mvit.matcher.bindings import Step
from onnx2mvit.matcher.expression import Expr, ForEach, Param, Var
from onnx2mvit.matcher.language import Ops
from onnx2mvit.matcher.outline import Form, outline
from onnx2mvit.matcher.search import compiled

Array = np.ndarray[Any, Any]

ROUNDING = 16  # of the last place, in what was added up in another order
DIFFERS = "a constant differs from image to image"
TRAINING = "it is in training mode: export the model after model.eval()"


class Mismatch(Exception):  # noqa: N818 - it is an answer, not an error
    """Raised while hyperparameters are read: this is not the block, and why."""


def require(condition: bool, reason: str) -> None:
    """Rejects a match unless the condition holds.

    Args:
        condition: what must be so.
        reason: what is told where it is not, as in "the kernel is not square".

    Raises:
        Mismatch: it does not hold.
    """
    if not condition:
        raise Mismatch(reason)


def multiple(wide: int, channels: int) -> float:
    """How many times the channels there are; it may be a short decimal, as an expansion of 1.5 is.

    Args:
        wide: as many as a block has within.
        channels: as many as it takes.

    Raises:
        Mismatch: no whole number and no short decimal, rounded, gives so many.
    """
    factor = ratio(wide, channels)
    if factor is None:
        raise Mismatch(f"{wide} is no multiple of {channels} channels")
    return factor


def alike(array: Array, axis: int = 0) -> bool:
    """True if a constant, of any shape and dtype, is the same at each place of an axis.

    Such a one is the same for every image. Floats may differ by rounding: where it was computed
    for several images, as sums of products, processors add those of one in another order.
    """
    first = array.swapaxes(0, axis)[:1].swapaxes(0, axis)  # of an empty one nothing
    differs = array != first
    if array.dtype.kind != "f" or not differs.any():
        return not differs.any()
    one, other = array[differs], np.broadcast_to(first, array.shape)[differs]
    size = np.maximum(np.abs(one), np.abs(other))
    if not np.isfinite(size).all():
        return False
    # By what differs alone: a mask's -3e38 excuses nothing beside it.
    near = ROUNDING * np.finfo(array.dtype).eps
    with np.errstate(over="ignore"):
        apart = np.abs(one - other)
    return bool((apart <= near * np.maximum(size, np.median(size))).all())


def one_image_of(array: Array, axis: int, images: int) -> Array:
    """What a constant, of any dtype, has for one image, if it is alike for all of them.

    Args:
        array: of any shape.
        axis: of the batch, along which the rows of an image follow those of the one before.
        images: how many there are.

    Returns:
        It with one row along that axis where all are alike, else with as many as an image has.

    Raises:
        Mismatch: it differs from image to image.
    """
    if array.shape[axis] == 1:
        return array
    part: Array
    if alike(array, axis):
        part = array.take([0], axis)
        return part
    rows, left = divmod(array.shape[axis], images)
    require(not left, DIFFERS)
    apart = array.reshape(*array.shape[:axis], images, rows, *array.shape[axis + 1 :])
    require(alike(apart, axis), DIFFERS)
    part = apart.take(0, axis)
    return part


class Rooted:
    """An expression with the roles, operators and roots that it mentions, worked out once."""

    expression: Expr

    def onnx(self, op: Ops, x: Var) -> Expr:
        """What it looks like in ONNX; `x` is its input."""
        raise NotImplementedError

    def __init__(self) -> None:
        self.expression = self.onnx(Ops(), Var("x"))
        parts = list(self.expression.walk())
        self.roots = self.expression.roots
        self.needs = self.expression.needs
        self.ops = frozenset().union(*(part.roots for part in parts))
        keywords = [value for part in parts for value in part.keywords.values()]
        self.variables = tuple(dict.fromkeys(k.name for k in keywords if isinstance(k, Param)))
        self.roles = tuple(dict.fromkeys(part.role for part in parts if part.role))
        self.groups = tuple(part.role for part in parts if isinstance(part, ForEach))

    @cached_property
    def outline(self) -> Mapping[str, Form] | None:
        """The quick test of a node, by its operator, before it is searched from."""
        return outline(self.expression)

    @cached_property
    def search(self) -> Step:
        """The search for the expression from a value."""
        return compiled(self.expression)
