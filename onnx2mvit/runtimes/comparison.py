"""How far tensors are from those that they should be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from onnx2mvit.runtimes.masks import mean_iou

Array = np.ndarray[Any, Any]
SUBNORMAL = float(np.finfo(np.float32).tiny)  # runtimes may take what is smaller for zero
FARTHEST = float(np.finfo(np.float64).max)  # JSON has no word for infinity


class Comparison:
    """How far a tensor is from the right one, over all pairs of them that were added.

    Errors are absolute, and as a share of the largest value of their own pair: what is small for
    one image may be all there is of another.
    Masks and indices are right or wrong: their error is the share of places that differ, and any
    is too much. Where both have the same infinity, or no number, nothing differs; but what has no
    number at all is compared with nothing.

    Tensors that are answers may be kept, and then are asked for their noise and their classes
    too; inner tensors are large, and looked at once. Where `pixels` says on which axis of an image
    its logits of each pixel are, the classes are those of masks.
    """

    def __init__(self, answers: bool = False, pixels: int | None = None) -> None:
        self.seen = False
        self.discrete = False
        self.error = 0.0
        self.relative_error = 0.0  # may be no number, as `error`
        self.largest = 0.0
        self.answers, self.pixels = answers, pixels
        self.pairs: list[tuple[Array, Array]] = []

    def add(self, ours: Array, theirs: Array) -> Comparison:
        """Takes another pair of tensors into account, `ours` and `theirs`, the right one.

        They are of one dtype; where the shape is another, they are as far apart as can be.
        """
        alike = ours.shape == theirs.shape
        self.seen |= not alike or bool(np.isfinite(theirs).any())
        if theirs.dtype.kind in "biu":
            self.discrete, largest = True, 1.0
            error = float((ours != theirs).mean()) if alike and theirs.size else 0.0
        else:
            with np.errstate(invalid="ignore", over="ignore"):
                largest, error = _largest(theirs), _largest(ours - theirs) if alike else 0.0
            if not np.isfinite(largest):
                largest = _largest(np.where(np.isfinite(theirs), theirs, 0))
                if alike:
                    differ = ~((ours == theirs) | (np.isnan(ours) & np.isnan(theirs)))
                    error = _largest(ours[differ] - theirs[differ])
        error = (0.0 if error < SUBNORMAL else error) if alike else np.inf
        self.error = float(np.maximum(self.error, error))
        self.relative_error = float(np.maximum(self.relative_error, error / (largest or 1.0)))
        self.largest = max(self.largest, largest)
        if self.answers and alike:
            self.pairs.append((ours, theirs))
        return self

    def join(self, other: Comparison) -> None:
        """Takes the pairs of another into account."""
        self.seen |= other.seen
        self.discrete |= other.discrete
        self.error = float(np.maximum(self.error, other.error))
        self.relative_error = float(np.maximum(self.relative_error, other.relative_error))
        self.largest = max(self.largest, other.largest)
        self.pairs += other.pairs

    @property
    def max_abs_error(self) -> float:
        """The largest error; a number for JSON where `error` is none."""
        return float(np.nan_to_num(self.error, nan=FARTHEST, posinf=FARTHEST))

    @property
    def max_rel_error(self) -> float:
        """The largest error as a share of the largest value; a number for JSON."""
        return float(np.nan_to_num(self.relative_error, nan=FARTHEST, posinf=FARTHEST))

    def within(self, tolerance: float) -> bool:
        """The verdict: whether something was compared, and is that near."""
        return self.seen and self.max_rel_error <= (0 if self.discrete else tolerance)

    @property
    def sqnr_db(self) -> float | None:
        """Signal to quantization noise, 10·log10(Σ y² / Σ (y - ŷ)²); None if nothing differs."""
        signal = sum(float(np.square(y.astype(np.float64)).sum()) for _, y in self.pairs)
        noise = sum(float(np.square(x.astype(np.float64) - y).sum()) for x, y in self.pairs)
        if noise == self.error == 0:
            return None
        # A noise that is no number, and another shape, leave nothing of the signal.
        ratio = np.nan_to_num(np.float64(signal) / noise) if noise else 0.0
        return 10 * float(np.log10(max(ratio, np.finfo(np.float64).tiny)))

    @property
    def classes(self) -> tuple[Array, Array]:
        """Our answers and theirs, (images, classes) both; of no image if they are no scores."""
        pairs = [
            (x, y) for x, y in self.pairs if y.ndim == 2 and y.shape[1] > 1 and y.dtype.kind == "f"
        ]
        ours, theirs = zip(*pairs, strict=True) if pairs else ([np.empty((0, 2))],) * 2
        return np.concatenate(ours), np.concatenate(theirs)

    @property
    def agreeing(self) -> list[bool]:
        """For each image whether its first class is the same; empty if there are no classes."""
        ours, theirs = self.classes
        same: list[bool] = (ours.argmax(-1) == theirs.argmax(-1)).tolist()
        return same

    @property
    def margins(self) -> list[float]:
        """For each image how far the right first class is before the second."""
        second, first = np.sort(self.classes[1], axis=-1)[:, -2:].T
        found: list[float] = (first - second).tolist()
        return found

    @property
    def different_answers(self) -> int:
        """How many different first classes are right, of images or of pixels."""
        right = [theirs.reshape(-1) for _, theirs in self.masks]
        return len(np.unique(np.concatenate([self.classes[1].argmax(-1), *right])))

    @property
    def masks(self) -> list[tuple[Array, Array]]:
        """The class of every pixel in our answers and in theirs, (images, height, width)."""
        axis = self.pixels
        if axis is None:
            return []
        return [(ours.argmax(axis), theirs.argmax(axis)) for ours, theirs in self.pairs]

    @property
    def mean_iou(self) -> float | None:
        """How far the masks are the same: intersection over union; None if there are none."""
        if self.pixels is None or not self.pairs:
            return None
        return mean_iou(self.masks, self.pairs[0][1].shape[self.pixels])

    @property
    def constant(self) -> bool:
        """Whether several right answers were kept that are all alike, but for rounding."""
        answers = [theirs for _, theirs in self.pairs]
        first, *others = answers or [np.empty(0)]
        near = 1e-6 * self.largest
        return bool(others) and all(
            each.shape == first.shape and np.allclose(each, first, rtol=0, atol=near)
            for each in others
        )


def compare(
    ours: Mapping[str, Array],
    theirs: Mapping[str, Array],
    answers: bool = False,
    pixels: Mapping[str, int] = MappingProxyType({}),
) -> dict[str, Comparison]:
    """Compares the outputs of a network with the right ones, of the same names.

    Args:
        ours: of any dtype, the batch first.
        theirs: the right ones, of the same shape and dtype.
        answers: whether classes are kept, to be counted.
        pixels: by the names of outputs that are masks, the axis of their classes.

    Returns:
        How far apart the outputs are, by name.
    """
    return {
        name: Comparison(answers, pixels.get(name)).add(ours[name], theirs[name]) for name in theirs
    }


def worst(compared: Iterable[Comparison]) -> Comparison:
    """The one that is farthest off, as a share of its largest value."""
    return max(compared, key=lambda each: each.max_rel_error)


def sqnr_db(compared: Iterable[Comparison]) -> float | None:
    """The signal to quantization noise of the noisiest one; None if nothing differs."""
    return min((each.sqnr_db for each in compared), key=loudness)


def loudness(decibel: float | None) -> float:
    """Decibel to sort by; None, where nothing differs, comes last."""
    return np.inf if decibel is None else decibel


def _largest(array: Array) -> float:
    """The largest magnitude in an array; not a number if there is such a value."""
    return abs(float(np.maximum(array.max(initial=0.0), -array.min(initial=0.0))))
