"""How many answers int8 keeps, and what those to some images say of others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnx2mvit.runtimes import Outputs, compare

SURE = 1.645  # standard deviations: 95 %, to one side


@dataclass(frozen=True)
class Kept:
    """How many of `count` answers stayed the same, and how many were to be expected to.

    The first is a whole number, and of a few images it says little. The second counts how near
    to a tie each image is against its noise, which says more.
    """

    count: int
    agreeing: int
    expected: float

    @property
    def agreement(self) -> float:
        """The share that stayed the same."""
        return self.agreeing / self.count

    def chance(self, wanted: float, others: int) -> float:
        """The probability that so many other images keep a share of their answers.

        The share of all such images that changes is known from `count` of them alone. As much is
        taken to be known of it as if `count - expected` of them had been seen to change: it has the
        beta distribution with these two numbers, and how many of the others change has the
        beta-binomial one. Each image's own chance tells more than a yes or no does, so the true
        spread is smaller; that makes up for noise that is not quite normal.

        Args:
            wanted: the share that they are to keep.
            others: their number.
        """
        stayed, changed = self.expected, self.count - self.expected
        if changed <= 0 or stayed <= 0:
            return float(changed <= 0)
        # By the ratio of neighbours, from that of none.
        term = math.exp(_log_beta(changed, stayed + others) - _log_beta(changed, stayed))
        total = term
        for number in range(allowed_changes(wanted, others)):
            left = others - number
            term *= left / (number + 1) * (changed + number) / (stayed + left - 1)
            total += term
        return min(total, 1.0)

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {"count": self.count, "agreeing": self.agreeing, "expected": self.expected}


def allowed_changes(wanted: float, count: int) -> int:
    """How many of `count` answers may change where a share of them is to stay."""
    return max(n for n in range(count + 1) if (count - n) / count >= wanted)


def kept_answers(ours: Outputs, theirs: Outputs) -> Kept:
    """How many images have the same first class, in the first output."""
    found = next(iter(compare(ours, theirs, answers=True).values()))
    return counted(*found.classes)


def counted(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> Kept:
    """The same of scores (images, classes).

    An image changes its answer where noise shifts its first class against the second by more than
    their margin. The noise of an image is that of all its scores: some images have much more than
    others, and it is least where a softmax is sure. Shifts, as a multiple of that, are known from
    the half of the images that are nearest to a tie, of which alone any change: those have more.
    An image's chance is the share of these shifts that would change it, to either side, or where
    that is less what it were if they were normal: few images show no shift that is rare.
    """
    theirs, ours = theirs.astype(np.float64), ours.astype(np.float64)
    first_two = theirs.argsort(-1)[:, :-3:-1]
    margins, shifted = (
        np.subtract(*np.take_along_axis(each, first_two, -1).T) for each in (theirs, ours)
    )
    noise = np.sqrt((ours - theirs).var(-1))
    noisy = noise > 0
    changed = 0.0
    if noisy.any():
        ties, shifts = (each[noisy] / noise[noisy] for each in (margins, shifted - margins))
        near = shifts[ties <= np.median(ties)]
        both = np.sort([*near, *-near])
        seen = np.searchsorted(both, -ties) / len(both)
        spread = math.sqrt(2 * np.square(near).mean()) or 1.0
        normal = np.array([math.erfc(tie / spread) / 2 for tie in ties])
        changed = float(np.maximum(seen, normal).sum())
    agreeing = int((ours.argmax(-1) == theirs.argmax(-1)).sum())
    return Kept(len(theirs), agreeing, len(theirs) - changed)


def at_least(share: float, count: int) -> float:
    """What a share of `count` images is of all such images, with 95 % confidence.

    Wilson's lower bound (Wilson, J. Am. Stat. Assoc. 22, 1927).
    """
    square = SURE**2 / count
    spread = math.sqrt(square * (share * (1 - share) + square / 4))
    return (share + square / 2 - spread) / (1 + square)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
