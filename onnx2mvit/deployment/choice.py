"""Which blocks are in int8, and which stay in float32: what each loses, and what is chosen by it.

Without a target those stay in float32 that lose most for their weights, or those that are named;
with one, what each block is in is found by `search`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

from onnx2mvit.deployment.candidates import Candidates, Images, Levels, Loss, Operator
from onnx2mvit.deployment.search import STATIC, Search, Target, aimed
from onnx2mvit.errors import UnsupportedError, UsageError
from onnx2mvit.runtimes.comparison import loudness

Progress = Callable[[str, int, int], None]
GOAL = 36.0  # dB that the blocks in int8 may lose together
SPENT = 0.05  # of the weights that blocks in float32 may hold: the file stays near a quarter


@dataclass(frozen=True)
class Wanted:
    """What is to be kept by leaving blocks in float32.

    `agreement` is the share of answers, classes of the first output, which `proven_on` other images
    are to prove; `float32` names the blocks themselves. Without either, those stay that lose much
    for few weights. `rounded` is whether weights may be rounded by what they read: not where the
    images are none that the network will see, nor where it was trained with its own rounding.
    """

    agreement: float | None = None
    float32: Sequence[str] | None = None
    proven_on: int = 0
    rounded: bool = False


@dataclass(frozen=True)
class Choice:
    """The operators that are to be in int8, what each block loses by that alone, worst first.

    `members` are dynamic, `static` are not. `search` says how the target was reached, where there
    was one.
    """

    members: list[Operator]
    static: list[Operator]
    losses: list[Loss]
    search: Search | None = None


def chosen(
    nets: Candidates, few: Images, inputs: Images, progress: Progress, wanted: Wanted
) -> Choice:
    """What is to be in int8.

    Args:
        nets: the networks that there are.
        few: images, by name, that tell what a block loses.
        inputs: others, on which a target is decided.
        progress: is told how many blocks have been tried.
        wanted: what says which blocks stay in float32.

    Raises:
        UnsupportedError: nothing in the network can be in int8.
        UsageError: one that is to stay in float32 is not there, or all are.
    """
    if not nets.groups:
        raise UnsupportedError("no convolution or linear layer here can be in int8")
    _check_named(wanted.float32 or (), nets.groups)
    losses, search = nets.losses(few, partial(progress, "what each block loses")), None
    if wanted.float32 is not None:
        levels = Levels(nets.every & {*wanted.float32})
    elif wanted.agreement is None:
        levels = choose(losses)
    else:
        target = Target(wanted.agreement, wanted.proven_on)
        search = aimed(nets, losses, few, inputs, target, progress)
        levels = search.levels
    names = dict.fromkeys(levels.floating, "float32") | dict.fromkeys(levels.static, STATIC)
    losses = [replace(loss, precision=names.get(loss.block, "int8")) for loss in losses]
    losses.sort(key=lambda loss: loudness(loss.sqnr_db))
    return Choice(*nets.members(levels), losses, search)


def _check_named(float32: Sequence[str], blocks: Collection[str]) -> None:
    for name in float32:
        if name not in blocks:
            raise UsageError(f"float32 {name!r}: the blocks for int8 are {', '.join(blocks)}")
    if {*blocks} <= {*float32}:
        raise UsageError("every block is to stay in float32: then leave out int8")


def choose(losses: Sequence[Loss]) -> Levels:
    """Leaves blocks in float32 until the others together are better than GOAL.

    Those come first that add most noise for their weights; noises of blocks add up in power.
    Only so many are left out that they hold no more than SPENT of the weights.
    """
    allowed, floating = SPENT * sum(loss.weights for loss in losses), set()
    noise = sum(loss.noise for loss in losses)
    for loss in sorted(losses, key=lambda each: each.noise / max(each.weights, 1), reverse=True):
        if noise <= 10 ** (-GOAL / 10):
            break
        if loss.weights <= allowed:
            floating.add(loss.block)
            allowed -= loss.weights
            noise -= loss.noise
    return Levels(frozenset(floating))
