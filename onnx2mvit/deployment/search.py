"""Int8 with a target: what each block is in so that a share of the answers stays the same.

LiteRT knows two forms of int8. Dynamic: weights are int8, and activations are rounded when the file
runs, as what each image needs. Static: activations are int8 from one operator to the next, which is
faster and less exact.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from onnx2mvit.deployment.candidates import Candidates, Images, Levels, Loss
from onnx2mvit.deployment.kept import Kept, kept_answers
from onnx2mvit.runtimes.runner import rows
from onnx2mvit.runtimes.timing import interleave

ROUNDS = 10  # calls of each file that are timed
DEMANDED = 0.9  # chance that the images which prove a target keep it
FLOAT_BYTES = 3  # more that a weight takes in float32 than in int8
STATIC = "static int8"


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
    """What was found for a target on the images that decided.

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


def aimed(
    nets: Candidates,
    losses: Sequence[Loss],
    few: Images,
    inputs: Images,
    target: Target,
    progress: Callable[[str, int, int], None],
) -> Search:
    """What each block is in so that a share of the answers stays the same, and what that takes.

    Args:
        nets: the networks that there are.
        losses: of each block in dynamic int8 alone.
        few: images, by name, on which those of static int8 are measured.
        inputs: others, on which the target is decided.
        target: the share, and what proves it.
        progress: is told of what so much has been tried, and how much there is.
    """
    static = nets.losses(few, partial(progress, "what each loses in static int8"), static=True)
    every = Levels(nets.every)
    theirs = nets.answers(every, inputs)
    search = searched(
        path([*losses, *(replace(loss, precision=STATIC) for loss in static)]),
        {loss.block: loss.weights for loss in losses},
        lambda levels: kept_answers(nets.answers(levels, inputs), theirs),
        target,
        partial(progress, "what each block is in"),
    )
    files = {"int8": Levels(), "chosen": search.levels, "float32": every}
    one = rows(inputs, nets.interface.axes, slice(nets.interface.batch or 1))
    calls = {name: partial(nets.runner(each), one) for name, each in files.items()}
    took = interleave(calls, rounds=ROUNDS, warm_up=1, timed=1)
    times = {name: 1e3 * timing.seconds for name, timing in took.items()}
    return replace(search, milliseconds=times)


def path(losses: Sequence[Loss]) -> list[Levels]:
    """Choices from float32 to the fastest, each of which goes on from the one before it.

    The next step is that of a block to dynamic or to static int8, from float32 or from the former,
    which saves most time for the noise that it adds. Noises of blocks add up in power, so that each
    choice is the fastest, or nearly, of those that add no more noise: what is static, what dynamic
    and what in float32 is weighed together (a knapsack of multiple choice, by its convex hull:
    Sinha and Zoltners, Oper. Res. 27, 1979). A step that saves nothing is not taken; where none
    saves anything, every block is in dynamic int8, for the bytes.

    Args:
        losses: of blocks in int8 alone; with `STATIC` for their precision, in static int8.
    """
    now = {loss.block: Loss(loss.block, 0, None) for loss in losses}
    levels, found = Levels(frozenset(now)), list[Levels]()

    def worth(step: Loss) -> float:
        noise = step.noise - now[step.block].noise
        return (step.saved - now[step.block].saved) / noise if noise > 0 else math.inf

    while steps := [step for step in losses if step.saved > now[step.block].saved]:
        taken = max(steps, key=worth)
        now[taken.block] = taken
        block = frozenset([taken.block])
        others = levels.static - block
        static = others | block if taken.precision == STATIC else others
        levels = Levels(levels.floating - block, static)
        found.append(levels)
    return found or [Levels()]


def searched(
    steps: Sequence[Levels],
    weights: Mapping[str, int],
    kept: Callable[[Levels], Kept],
    target: Target,
    progress: Callable[[int, int], None],
) -> Search:
    """The last of some choices, each less exact than the one before, that reaches a target.

    They were put in order by other images than those that decide here. Whoever tries many choices
    on the same images and takes the best of them takes one that was lucky there. In a fixed order
    there is nothing to pick from: the only error is to go on past the last good choice, for which
    one that is too fast must have passed. If each were tried from the first on until one fails, it
    would have to be the very next, whose chance the target bounds by itself, and no number of looks
    need be corrected for (testing in a fixed sequence: Maurer, Hothorn and Lehmacher, 1995). It is
    sought by halves, which looks at few, and most of those are far from where it turns.

    Where the first of them does not reach it, that is given.

    Args:
        steps: the choices, as of `path`.
        weights: of each block.
        kept: the answers that stay the same with these levels.
        target: the share of them, and what proves it.
        progress: is told how much has been tried, and how much there may be.
    """
    tried, most = dict[Levels, Kept](), len(steps).bit_length() + 1

    def at(levels: Levels) -> Kept:
        if levels not in tried:
            progress(len(tried), most)
            tried[levels] = kept(levels)
        return tried[levels]

    plain = at(Levels())
    length = bisect_left(steps, True, key=lambda levels: not target.reached_by(at(levels)))
    levels = steps[max(length - 1, 0)]
    return Search(target, at(levels), plain, weights, levels)
