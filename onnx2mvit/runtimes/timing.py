"""How long calls take against one another, measured so that none disturbs the next.

Runtimes keep their threads spinning for a while after a call. Where single calls take turns, one
runtime's spinning slows the next one down; where one runtime is measured after the other, the
machine may have changed in between. So the calls come in blocks, a few of each block are not
counted, and the blocks take turns over several rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import median

WARM_UP, TIMED, ROUNDS = 3, 15, 8

Call = Callable[[], object]
Block = Callable[[], tuple[float, ...]]  # the seconds of the calls of one turn


@dataclass(frozen=True)
class Timing:
    """Seconds of one call, by round; each round has the same number of them."""

    rounds: tuple[tuple[float, ...], ...]

    @property
    def medians(self) -> list[float]:
        """The median of each round, in seconds."""
        return [median(seconds) for seconds in self.rounds]

    @property
    def seconds(self) -> float:
        """The median of all calls."""
        return median(seconds for block in self.rounds for seconds in block)

    def ratio(self, reference: Timing) -> Ratio:
        """How long it takes for one second of the reference, which was measured beside it."""
        pairs = zip(self.medians, reference.medians, strict=True)
        ratios = [ours / theirs for ours, theirs in pairs]
        return Ratio(median(ratios), min(ratios), max(ratios))


@dataclass(frozen=True)
class Ratio:
    """A ratio of times: the median over the rounds, and the least and the greatest of a round."""

    median: float
    least: float
    greatest: float


def interleave(
    calls: Mapping[str, Call],
    *,
    rounds: int = ROUNDS,
    warm_up: int = WARM_UP,
    timed: int = TIMED,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Timing]:
    """Times calls in alternating blocks: `warm_up` calls that do not count, then `timed` ones."""
    blocks = {name: partial(block, call, warm_up, timed) for name, call in calls.items()}
    return in_turns(blocks, rounds, progress)


def in_turns(
    blocks: Mapping[str, Block],
    rounds: int = ROUNDS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Timing]:
    """Lets blocks take turns, wherever they are timed: here, or each in a process of its own.

    Every second round goes through them backwards, so that none is always after the same other.
    """
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in blocks}
    for number in range(rounds):
        progress(number, rounds)
        names = list(blocks)
        for name in names if number % 2 == 0 else reversed(names):
            found[name].append(blocks[name]())
    progress(rounds, rounds)
    return {name: Timing(tuple(times)) for name, times in found.items()}


def block(call: Call, warm_up: int, timed: int) -> tuple[float, ...]:
    """The seconds of `timed` calls, after `warm_up` that do not count."""
    for _ in range(warm_up):
        call()
    seconds = []
    for _ in range(timed):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return tuple(seconds)
