"""How far a deployed file is from the network that it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from onnx2mvit.runtimes.comparison import Difference

Array = np.ndarray[Any, Any]

# What a file is allowed. float32: as everywhere; float16 has 11 bits, so 5e-4 at each layer;
# int8 has errors in proportion to the answer, and 20 dB is a tenth of it.
MAX_REL_ERROR = {"float32": 1e-5, "float16": 1e-2}
MIN_SQNR = 20.0


@dataclass(frozen=True)
class Comparison:
    """Answers of a deployed file against those of the original.

    Errors are absolute, and relative to the largest value. `sqnr_db` is the signal to
    quantization noise ratio, 10·log10(Σ y² / Σ (y - ŷ)²), None where nothing differs. For
    classifiers `top1_agreement` is the share of images with the same answer, `answers` how many
    different ones the original gives, `median_margin` how far its first class is before its
    second, and `differing` the margin of each image whose answer differs.
    """

    against: str
    images: str
    count: int
    max_abs_error: float
    max_rel_error: float
    sqnr_db: float | None
    top1_agreement: float | None
    answers: int | None
    median_margin: float | None
    differing: dict[int, float]

    def passes(self, precision: str) -> bool:
        """Whether that is near enough for this precision."""
        if precision in MAX_REL_ERROR:
            return self.max_rel_error <= MAX_REL_ERROR[precision]
        return self.sqnr_db is None or self.sqnr_db >= MIN_SQNR

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self)


def compare(
    ours: Mapping[str, Array], theirs: Mapping[str, Array], against: str, images: str
) -> Comparison:
    """Compares outputs by name; the worst one counts, and classes are those of the first."""
    errors, relative = [], []
    for name, expected in theirs.items():
        if ours[name].shape != expected.shape:
            raise ValueError(f"{name}: {ours[name].shape} is compared with {expected.shape}")
        difference = Difference(name, "output")
        difference.add(ours[name], expected)
        errors.append(difference.max_abs_error)
        relative.append(difference.max_rel_error)
    first = next(iter(theirs))
    classes = _classes(ours[first], theirs[first])
    return Comparison(
        against=against,
        images=images,
        count=len(theirs[first]),
        max_abs_error=max(errors),
        max_rel_error=max(relative),
        sqnr_db=min((sqnr(ours[name], theirs[name]) for name in theirs), key=_loudness),
        **classes,
    )


def sqnr(ours: Array, theirs: Array) -> float | None:
    """Signal to quantization noise in dB, None where nothing differs."""
    noise = np.square(ours.astype(np.float64) - theirs).sum()
    if noise == 0:
        return None
    ratio = float(np.square(theirs.astype(np.float64)).sum() / noise)
    # A noise that is no number leaves nothing of the signal.
    return 10 * float(np.log10(max(np.nan_to_num(ratio), np.finfo(np.float64).tiny)))


def _loudness(decibel: float | None) -> float:
    return np.inf if decibel is None else decibel


def _classes(ours: Array, theirs: Array) -> dict[str, Any]:
    if theirs.ndim != 2 or theirs.shape[1] < 2:
        return {"top1_agreement": None, "answers": None, "median_margin": None, "differing": {}}
    answers = theirs.argmax(-1)
    second, first = np.sort(theirs, axis=-1)[:, -2:].T
    margins = first - second
    differing = np.flatnonzero(ours.argmax(-1) != answers)
    return {
        "top1_agreement": 1 - len(differing) / len(answers),
        "answers": len(set(answers.tolist())),
        "median_margin": float(np.median(margins)),
        "differing": {int(index): float(margins[index]) for index in differing},
    }
