"""How far tensors are from those that they should be."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
FARTHEST = float(np.finfo(np.float64).max)  # JSON has no word for infinity


class Comparison:
    """How far a tensor is from the right one, over all pairs of them that were added.

    Tensors that are answers may be kept, and then are asked for their noise and their classes
    too; inner tensors are large, and looked at once.
    """

    def __init__(self, answers: bool = False) -> None:
        self.seen = False
        self.error = 0.0
        self.largest = 0.0
        self.answers = answers
        self.pairs: list[tuple[Array, Array]] = []

    def add(self, ours: Array, theirs: Array) -> Comparison:
        """Takes another pair of tensors into account.

        Another shape, and anything not finite, is as far off as can be.
        """
        self.seen = True
        error = _largest(ours - theirs) if ours.shape == theirs.shape else np.inf
        self.error = float(np.maximum(self.error, error))
        largest = _largest(theirs)
        if not np.isfinite(largest):
            largest = _largest(np.nan_to_num(theirs, posinf=0, neginf=0))
        self.largest = max(self.largest, largest)
        if self.answers:
            self.pairs.append((ours, theirs))
        return self

    def join(self, other: Comparison) -> None:
        """Takes the pairs of another into account."""
        self.seen |= other.seen
        self.error = float(np.maximum(self.error, other.error))
        self.largest = max(self.largest, other.largest)
        self.pairs += other.pairs

    @property
    def max_abs_error(self) -> float:
        """The largest error; a number for JSON where `error` is none."""
        return float(np.nan_to_num(self.error, nan=FARTHEST, posinf=FARTHEST))

    @property
    def max_rel_error(self) -> float:
        """The largest error as a share of the largest value; a number for JSON."""
        error = self.max_abs_error
        return min(error / self.largest if self.largest else error, FARTHEST)

    @property
    def relative_error(self) -> float:
        """The same, as it is: it may be no number."""
        return self.error / self.largest if self.largest else self.error

    def within(self, tolerance: float) -> bool:
        """The verdict: whether something was compared, and is that near."""
        return self.seen and self.max_rel_error <= tolerance

    @property
    def sqnr_db(self) -> float | None:
        """Signal to quantization noise, 10·log10(Σ y² / Σ (y - ŷ)²); None if nothing differs."""
        signal = sum(float(np.square(y.astype(np.float64)).sum()) for _, y in self.pairs)
        noise = sum(float(np.square(x.astype(np.float64) - y).sum()) for x, y in self.pairs)
        if noise == 0:
            return None
        # A noise that is no number leaves nothing of the signal.
        ratio = np.nan_to_num(np.float64(signal) / noise)
        return 10 * float(np.log10(max(ratio, np.finfo(np.float64).tiny)))

    @property
    def agreeing(self) -> list[bool]:
        """For each image whether its first class is the same; empty if there are no classes."""
        return [
            bool(same)
            for ours, theirs in self.pairs
            if _are_classes(theirs)
            for same in ours.argmax(-1) == theirs.argmax(-1)
        ]

    @property
    def margins(self) -> list[float]:
        """For each image how far the right first class is before the second."""
        found: list[float] = []
        for _, theirs in self.pairs:
            if _are_classes(theirs):
                second, first = np.sort(theirs, axis=-1)[:, -2:].T
                found += (first - second).tolist()
        return found

    @property
    def different_answers(self) -> int:
        """How many different first classes are right."""
        return len(
            {
                int(answer)
                for _, theirs in self.pairs
                if _are_classes(theirs)
                for answer in theirs.argmax(-1)
            }
        )


def loudness(decibel: float | None) -> float:
    """Decibel to sort by; None, where nothing differs, comes last."""
    return np.inf if decibel is None else decibel


def _are_classes(answers: Array) -> bool:
    return answers.ndim == 2 and answers.shape[1] > 1


def _largest(array: Array) -> float:
    """The largest magnitude in an array; not a number if there is such a value."""
    return float(np.maximum(array.max(initial=0.0), -array.min(initial=0.0)))
