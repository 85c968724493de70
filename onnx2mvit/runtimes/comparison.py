"""How far two tensors are from each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
FARTHEST = float(np.finfo(np.float64).max)  # JSON has no word for infinity


@dataclass
class Difference:
    """How far a tensor is from onnxruntime's. `max_rel_error` is against its largest value."""

    name: str
    kind: str
    path: str = ""
    max_abs_error: float = 0.0
    largest: float = 0.0
    seen: bool = False

    @property
    def max_rel_error(self) -> float:
        """The largest error as a share of the largest value."""
        relative = self.max_abs_error / self.largest if self.largest else self.max_abs_error
        return min(relative, FARTHEST)

    def join(self, other: Difference) -> None:
        """Takes the pairs of another into account."""
        self.seen |= other.seen
        self.max_abs_error = max(self.max_abs_error, other.max_abs_error)
        self.largest = max(self.largest, other.largest)

    def add(self, ours: Array, theirs: Array) -> None:
        """Takes another pair of tensors into account.

        Another shape, and anything not finite, is as far off as can be.
        """
        self.seen = True
        error = _largest(ours - theirs) if ours.shape == theirs.shape else FARTHEST
        worst = float(np.nan_to_num(np.float64(error), nan=FARTHEST))
        self.max_abs_error = max(self.max_abs_error, worst)
        largest = _largest(theirs)
        if not np.isfinite(largest):
            largest = _largest(np.nan_to_num(theirs, posinf=0, neginf=0))
        self.largest = max(self.largest, largest)


def _largest(array: Array) -> float:
    """The largest magnitude in an array; not a number if there is such a value."""
    return float(np.maximum(array.max(initial=0.0), -array.min(initial=0.0)))
