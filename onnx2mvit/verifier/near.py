"""How near a tensor in float64 must be: what becomes of rounding, and of what is no number.

Arithmetic hands NaN on (0/0, roots and logarithms of negative numbers), but what a maximum, a sort
or a ReLU makes of it is nobody's rule: onnxruntime's maximum leaves NaN out, NumPy's is NaN. Where
a network computes with such, only that is right or wrong on which onnxruntime and the reference
implementation agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from onnx2mvit.runtimes import Comparison, Float64Runner
from onnx2mvit.runtimes.tolerances import FLOAT64

Array = np.ndarray[Any, Any]
DECIDED_BY_ROUNDING = 1e-3  # so much, as a share of the largest value, a rounding never makes
HALF_A_PLACE = 2.0**-24  # what rounding to float32 changes at most, as a share of a value


@dataclass(frozen=True)
class Near:
    """What becomes of a tensor of the file where those before it are off.

    `right` is the tensor `name`, in float64, as it follows from those in `before`.
    """

    file: Float64Runner
    before: Mapping[str, Array]
    name: str
    right: Array

    @cached_property
    def rounded(self) -> Array:
        """The same if those before it are rounded as float32 would."""
        return self.file.near(self.before, self.name, HALF_A_PLACE)

    @cached_property
    def rounding(self) -> Array:
        """How far it changes by that, where it stays a number; as `spread`."""
        return self.spread(self.rounded)

    def numbers(self, ours: Array) -> Array:
        """Ours, with what is right where ours is no number and rounding decides what it is.

        As in x / sqrt(variance) of what is constant: 0/0, or one rounding by another.
        """
        if ours.shape != self.right.shape or not has_nan([ours]):
            return ours
        numbers: Array = np.where(self.undecided, self._numbers(ours), ours)
        return numbers

    @cached_property
    def undecided(self) -> Array:
        """The places at which rounding decides what it is: a mask."""
        return unsettled(self.rounded, self.right, DECIDED_BY_ROUNDING)

    def spread(self, others: Array) -> Array:
        """How far others are off, at each place: the farthest of those that are as sure as it.

        Where rounding decides, they are off by as much as their values, which excuses nothing
        elsewhere.
        """
        if self.right.dtype.kind in "biu" or others.shape != self.right.shape:
            return np.asarray(Comparison().add(others, self.right).max_abs_error)
        sure, others = ~self.undecided, self._numbers(others)
        far = Comparison().add(others[sure], self.right[sure]).max_abs_error
        anywhere = Comparison().add(others, self.right).max_abs_error
        return np.where(sure, far, anywhere)

    def allowed(self, theirs: Array) -> Array:
        """How far one may be off at each place, in float64, if onnxruntime says `theirs`."""
        noise = self.spread(theirs)
        if self.right.dtype.kind in "biu" or theirs.shape != self.right.shape:
            return noise
        return np.where(self.undecided, np.maximum(noise, self.rounding), noise)

    def _numbers(self, ours: Array) -> Array:
        numbers: Array = np.where(np.isnan(ours), self.right, ours) if has_nan([ours]) else ours
        return numbers

    def jumps(self, distance: Array, tolerance: float) -> float:
        """The share of places at which it may be farther off than `distance`.

        A mask, an index, or what is rounded to whole numbers jumps where two values are nearly
        alike: it changes if what is before is off by the tolerance, in a quarter of these places
        in one try, as both values go up or down. One place of a mask or an index may always.
        """
        changed = far_share(self.file.near(self.before, self.name, tolerance), self.right, distance)
        always = 1 / max(self.right.size, 1) if self.right.dtype.kind in "biu" else 0.0
        return 4 * changed + always


def far_share(ours: Array, theirs: Array, distance: Array) -> float:
    """The share of places at which two tensors of one shape are farther apart than this.

    `distance` is one number, or one for each place.
    """
    if theirs.dtype.kind in "biu":
        return float((ours != theirs).mean())
    with np.errstate(invalid="ignore"):
        near = (np.abs(ours - theirs) <= distance) | (ours == theirs)
    return 1.0 - float((near | (np.isnan(ours) & np.isnan(theirs))).mean())


def is_right(ours: Array, theirs: Array, rounding: Array | None = None) -> bool:
    """Whether a tensor in float64 is what it should be, or as near as rounding lets it be.

    `rounding` is one number, or one for each place, as `Near.spread` gives it.
    """
    found = Comparison().add(ours, theirs)
    if found.within(FLOAT64) or rounding is None or ours.shape != theirs.shape:
        return found.within(FLOAT64)
    if found.discrete:
        return bool((found.max_abs_error <= rounding).all())
    return far_share(ours, theirs, np.maximum(rounding, FLOAT64 * found.largest)) == 0


def has_nan(arrays: Iterable[Array]) -> bool:
    """Whether there is a NaN in one of them."""
    return any(array.dtype.kind == "f" and bool(np.isnan(array).any()) for array in arrays)


def unsettled(theirs: Array, right: Array, tolerance: float) -> Array:
    """The places of a tensor at which onnxruntime and the reference do not say the same.

    Args:
        theirs: onnxruntime's, in float32.
        right: that of the reference implementation, in float64, of the same shape.
        tolerance: so much they may differ, as a share of the largest value.

    Returns:
        A mask; where both have the same infinity, they say the same, but not where neither has a
        number.
    """
    if right.dtype.kind in "biu":
        return np.asarray(theirs != right)
    with np.errstate(invalid="ignore"):
        largest = np.abs(right[np.isfinite(right)]).max(initial=0.0)
        agreed = (np.abs(theirs - right) <= tolerance * largest) | (theirs == right)
        return np.asarray(~agreed)


def settled(theirs: Array, right: Array, tolerance: float, *others: Array) -> tuple[Array, ...]:
    """Tensors of one shape with NaN where nothing is settled.

    Args:
        theirs, right, tolerance: as in `unsettled`.
        others: more such tensors.

    Returns:
        `theirs`, `right` and the others. What cannot hold NaN has there what `right` has.
    """
    given = (theirs, right, *others)
    if len({array.shape for array in given}) > 1:
        return given
    nobodys = unsettled(theirs, right, tolerance)
    return tuple(
        np.where(nobodys, np.nan if array.dtype.kind == "f" else right, array) for array in given
    )
