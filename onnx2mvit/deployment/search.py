"""Int8 with a target: as few blocks in float32 as keep a share of the answers."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial

from onnx2mvit.deployment.kept import Kept
from onnx2mvit.runtimes import Inputs, Runner
from onnx2mvit.runtimes.timing import interleave

ROUNDS = 10  # calls of each file that are timed
DEMANDED = 0.9  # chance that the images which prove a target keep it
FLOAT_BYTES = 3  # more that a weight takes in float32 than in int8


@dataclass(frozen=True)
class Search:
    """What was found for a target on the images that blocks were chosen on.

    Attributes:
        wanted: the share of answers that is to be kept.
        others: how many images prove it.
        tuned: what is, with the blocks of `floating` in float32.
        plain: what is with every block in int8.
        weights: of each block.
        floating: blocks that stay in float32.
        milliseconds: of a call with every block in int8, as chosen, and in float32.
    """

    wanted: float
    others: int
    tuned: Kept
    plain: Kept
    weights: Mapping[str, int]
    floating: frozenset[str]
    milliseconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def reached(self) -> bool:
        """Whether the target was, on these images."""
        return self.tuned.agreement >= self.wanted

    @property
    def chance(self) -> float:
        """The probability that the others keep it, by what these say."""
        return self.tuned.chance(self.wanted, self.others)

    @property
    def more_bytes(self) -> int:
        """So many more does the file have than one with every block in int8."""
        return FLOAT_BYTES * sum(self.weights[block] for block in self.floating)


def searched(
    weights: Mapping[str, int],
    kept: Callable[[Collection[str]], Kept],
    wanted: float,
    others: int,
    progress: Callable[[int, int], None],
) -> Search:
    """Finds blocks that are to stay in float32 so that a share of the answers stays the same.

    A choice is good enough if it keeps that share of these answers, and the images that prove the
    target keep it with a chance of `DEMANDED`: what keeps it just so here fails on others as often
    as not. Fewer of them demand more, since fewer must not differ by chance.

    It is sought how many blocks it takes, in their order, by halves; then each, those with most
    weights first, is put back into int8 where the others are enough. One block at least is in
    int8: where that is too much, what came nearest is given.

    Args:
        weights: of each block, those first that are to be in float32 first.
        kept: the answers that stay the same with these blocks in float32.
        wanted: the share of them.
        others: how many images prove the target.
        progress: is told how much has been tried, and how much there may be.
    """
    order, tried = list(weights), dict[frozenset[str], Kept]()

    def at(floating: Collection[str]) -> Kept:
        key = frozenset(floating)
        if key not in tried:
            progress(len(tried), len(order) + len(order).bit_length())
            tried[key] = kept(key)
        return tried[key]

    def enough(floating: Collection[str]) -> bool:
        found = at(floating)
        return found.agreement >= wanted and found.chance(wanted, others) >= DEMANDED

    def nearness(floating: frozenset[str]) -> tuple[float, float, int]:
        found = tried[floating]
        return found.chance(wanted, others), found.expected, found.agreeing

    plain = at(())
    length = bisect_left(range(len(order)), True, key=lambda n: enough(order[:n]))
    floating = frozenset(order[:length])
    if length == len(order):
        floating = max(tried, key=nearness)
    else:
        for block in sorted(floating, key=lambda block: weights[block], reverse=True):
            if enough(floating - {block}):
                floating -= {block}
    return Search(wanted, others, at(floating), plain, weights, floating)


def milliseconds(runners: Mapping[str, Runner], inputs: Inputs) -> dict[str, float]:
    """What a call takes, the median of `ROUNDS` in which the runners take turns."""
    calls = {name: partial(runner, inputs) for name, runner in runners.items()}
    timings = interleave(calls, rounds=ROUNDS, warm_up=1, timed=1)
    return {name: 1e3 * timing.seconds for name, timing in timings.items()}
