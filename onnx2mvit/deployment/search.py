"""Int8 with a target: as few blocks in float32 as keep a share of the answers."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from onnx2mvit.runtimes import Inputs, Outputs, Runner, compare
from onnx2mvit.runtimes.timing import interleave

ROUNDS = 10  # calls of each file that are timed
SURE = 1.645  # standard deviations: 95 %, to one side
FLOAT_BYTES = 3  # more that a weight takes in float32 than in int8


@dataclass(frozen=True)
class Kept:
    """How many of `count` answers stayed the same, and how many were to be expected to.

    The first is a whole number, and of a few images it says little. The second counts how near
    to a tie each image is against the noise that all of them have, which says more.
    """

    count: int
    agreeing: int
    expected: float

    @property
    def agreement(self) -> float:
        """The share that stayed the same."""
        return self.agreeing / self.count

    def reaches(self, wanted: float) -> bool:
        """Whether both shares do, that which is expected but for half an image."""
        return self.agreement >= wanted and self.expected + 0.5 >= wanted * self.count

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {"count": self.count, "agreeing": self.agreeing, "expected": self.expected}


@dataclass(frozen=True)
class Search:
    """What was found for a target on the images that blocks were chosen on.

    Attributes:
        wanted: the share of answers that is to be kept.
        tuned: what is, with the blocks of `floating` in float32.
        plain: what is with every block in int8.
        weights: of each block.
        floating: blocks that stay in float32.
        milliseconds: of a call with every block in int8, as chosen, and in float32.
    """

    wanted: float
    tuned: Kept
    plain: Kept
    weights: Mapping[str, int]
    floating: frozenset[str]
    milliseconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def reached(self) -> bool:
        """Whether the target was, on these images."""
        return self.tuned.reaches(self.wanted)

    @property
    def more_bytes(self) -> int:
        """So many more does the file have than one with every block in int8."""
        return FLOAT_BYTES * sum(self.weights[block] for block in self.floating)


def searched(
    weights: Mapping[str, int],
    kept: Callable[[Collection[str]], Kept],
    wanted: float,
    progress: Callable[[int, int], None],
) -> Search:
    """Finds blocks that are to stay in float32 so that a share of the answers stays the same.

    It is sought how many of them it takes, in their order, by halves; then each, those with most
    weights first, is put back into int8 where the others are enough. One block at least is in
    int8: where that is too much, what came nearest is given.

    Args:
        weights: of each block, those first that are to be in float32 first.
        kept: the answers that stay the same with these blocks in float32.
        wanted: the share of them.
        progress: is told how much has been tried, and how much there may be.
    """
    order, tried = list(weights), dict[frozenset[str], Kept]()

    def at(floating: Collection[str]) -> Kept:
        key = frozenset(floating)
        if key not in tried:
            progress(len(tried), len(order) + len(order).bit_length())
            tried[key] = kept(key)
        return tried[key]

    plain = at(())
    length = bisect_left(range(len(order)), True, key=lambda n: at(order[:n]).reaches(wanted))
    floating = frozenset(order[:length])
    if length == len(order):
        floating = max(tried, key=lambda key: (tried[key].expected, tried[key].agreeing))
    else:
        for block in sorted(floating, key=lambda block: weights[block], reverse=True):
            if at(floating - {block}).reaches(wanted):
                floating -= {block}
    return Search(wanted, at(floating), plain, weights, floating)


def kept_answers(ours: Outputs, theirs: Outputs) -> Kept:
    """How many images have the same first class, in the first output."""
    found = next(iter(compare(ours, theirs, answers=True).values()))
    return counted(*found.classes)


def counted(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> Kept:
    """The same of scores (images, classes).

    Noise shifts the first class against the second by so much in the mean square; with a normal
    one, an image changes its answer with the probability that it shifts them by their margin.
    """
    first_two = theirs.argsort(-1)[:, :-3:-1]
    margins, shifted = (
        np.subtract(*np.take_along_axis(each.astype(np.float64), first_two, -1).T)
        for each in (theirs, ours)
    )
    noise = math.sqrt(np.square(shifted - margins).mean())
    changed = sum(math.erfc(margin / noise / math.sqrt(2)) / 2 for margin in margins if noise)
    agreeing = int((ours.argmax(-1) == theirs.argmax(-1)).sum())
    return Kept(len(theirs), agreeing, len(theirs) - changed)


def at_least(share: float, count: int) -> float:
    """What a share of `count` images is of all such images, with 95 % confidence.

    Wilson's lower bound (Wilson, J. Am. Stat. Assoc. 22, 1927).
    """
    square = SURE**2 / count
    spread = math.sqrt(square * (share * (1 - share) + square / 4))
    return (share + square / 2 - spread) / (1 + square)


def milliseconds(runners: Mapping[str, Runner], inputs: Inputs) -> dict[str, float]:
    """What a call takes, the median of `ROUNDS` in which the runners take turns."""
    calls = {name: partial(runner, inputs) for name, runner in runners.items()}
    timings = interleave(calls, rounds=ROUNDS, warm_up=1, timed=1)
    return {name: 1e3 * timing.seconds for name, timing in timings.items()}
