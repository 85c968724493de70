"""Int8 with a target: as few blocks in float32 as keep a share of the answers, many in static int8.

LiteRT knows two forms of int8. Dynamic: weights are int8, and activations are rounded when the file
runs, as what each image needs. Static: activations are int8 from one operator to the next, which is
faster and less exact.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from onnx2mvit.deployment.kept import Kept
from onnx2mvit.runtimes import Inputs, Runner
from onnx2mvit.runtimes.timing import interleave

ROUNDS = 10  # calls of each file that are timed
DEMANDED = 0.9  # chance that the images which prove a target keep it
FLOAT_BYTES = 3  # more that a weight takes in float32 than in int8


@dataclass(frozen=True)
class Levels:
    """Blocks in float32, and blocks in static int8; the others are in dynamic int8."""

    floating: frozenset[str] = frozenset()
    static: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Target:
    """The share of answers that is to be kept, and how many other images prove it."""

    wanted: float
    others: int

    def reached_by(self, kept: Kept) -> bool:
        """Whether these answers keep it and those to the others probably do.

        What keeps it just so on images that it was chosen on fails on others about as often as not.
        The fewer the others are, the more is demanded: fewer of them may change by chance.
        """
        return kept.agreement >= self.wanted and self.chance(kept) >= DEMANDED

    def chance(self, kept: Kept) -> float:
        """The probability that the others keep it, by what these say."""
        return kept.chance(self.wanted, self.others)


@dataclass(frozen=True)
class Search:
    """What was found for a target on the images that blocks were chosen on.

    Attributes:
        target: what was wanted.
        tuned: the answers that stay the same with `levels`.
        plain: those that do with every block in dynamic int8.
        weights: of each block.
        levels: what was chosen.
        milliseconds: of a call with every block in dynamic int8, as chosen, and in float32.
    """

    target: Target
    tuned: Kept
    plain: Kept
    weights: Mapping[str, int]
    levels: Levels
    milliseconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def reached(self) -> bool:
        """Whether the target was, on these images."""
        return self.tuned.agreement >= self.target.wanted

    @property
    def more_bytes(self) -> int:
        """So many more does the file have than one with every block in int8."""
        return FLOAT_BYTES * sum(self.weights[block] for block in self.levels.floating)


def searched(
    weights: Mapping[str, int],
    faster: Sequence[str],
    kept: Callable[[Levels], Kept],
    target: Target,
    progress: Callable[[int, int], None],
) -> Search:
    """Finds what each block is in so that a share of the answers stays the same.

    It is sought how many blocks must be in float32, in their order, by halves; then each, those
    with most weights first, is put back into dynamic int8 where the others are enough. One block at
    least is in int8: where that is too much, what came nearest is given. Where it is enough, it is
    sought how many of `faster` may be static, in their order, by halves, and which of those after.

    Args:
        weights: of each block, those first that are to be in float32 first.
        faster: blocks that may be static, those first that are to be so first.
        kept: the answers that stay the same with these levels.
        target: the share of them, and what proves it.
        progress: is told how much has been tried, and how much there may be.
    """
    order, tried = list(weights), dict[Levels, Kept]()
    most = sum(len(blocks) + len(blocks).bit_length() for blocks in (order, faster))

    def at(levels: Levels) -> Kept:
        if levels not in tried:
            progress(len(tried), most)
            tried[levels] = kept(levels)
        return tried[levels]

    def enough(levels: Levels) -> bool:
        return target.reached_by(at(levels))

    def nearness(levels: Levels) -> tuple[float, float, int]:
        return target.chance(tried[levels]), tried[levels].expected, tried[levels].agreeing

    def floating(count: int) -> Levels:
        return Levels(frozenset(order[:count]))

    plain = at(Levels())
    length = bisect_left(range(len(order)), True, key=lambda count: enough(floating(count)))
    if length == len(order):
        levels = max(tried, key=nearness)
        return Search(target, at(levels), plain, weights, levels)
    levels = floating(length)
    for block in sorted(levels.floating, key=lambda block: weights[block], reverse=True):
        fewer = replace(levels, floating=levels.floating - {block})
        levels = fewer if enough(fewer) else levels
    able = [block for block in faster if block not in levels.floating]

    def static(count: int) -> Levels:
        return replace(levels, static=frozenset(able[:count]))

    counts = range(1, len(able) + 1)
    length = bisect_left(counts, True, key=lambda count: not enough(static(count)))
    levels = static(length)
    for block in able[length + 1 :]:
        more = replace(levels, static=levels.static | {block})
        levels = more if enough(more) else levels
    return Search(target, at(levels), plain, weights, levels)


def milliseconds(runners: Mapping[str, Runner], inputs: Inputs) -> dict[str, float]:
    """What a call takes, the median of `ROUNDS` in which the runners take turns."""
    calls = {name: partial(runner, inputs) for name, runner in runners.items()}
    timings = interleave(calls, rounds=ROUNDS, warm_up=1, timed=1)
    return {name: 1e3 * timing.seconds for name, timing in timings.items()}
