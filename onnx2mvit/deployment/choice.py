"""Which blocks are in int8, and which stay in float32: what each loses, and what is chosen by it.

Without a target those stay in float32 that lose most for their weights; with one, as many as it
takes to keep a share of the answers (`search`), or those that are named. With a target, blocks that
can be static are where it allows that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from onnx2mvit.builder import block_finder
from onnx2mvit.deployment.interface import Interface
from onnx2mvit.deployment.kept import kept_answers
from onnx2mvit.deployment.search import Levels, Search, Target, milliseconds, searched
from onnx2mvit.errors import UnsupportedError, UsageError
from onnx2mvit.runtimes import Inputs, Outputs, Runner, compare, sqnr_db
from onnx2mvit.runtimes.comparison import loudness
from onnx2mvit.runtimes.runner import by_name, rows

Progress = Callable[[str, int, int], None]
GOAL = 36.0  # dB that the blocks in int8 may lose together
SPENT = 0.05  # of the weights that blocks in float32 may hold: the file stays near a quarter
FEW = 16  # images on which each block by itself is tried
OTHERS = "(others)"


@dataclass
class Loss:
    """A block, and what the answer loses if it alone is in int8.

    `sqnr_db` is None where nothing is lost; `weights` counts those that can be in int8.
    """

    block: str
    weights: int
    sqnr_db: float | None
    kept_float: bool = False
    static: bool = False

    @property
    def precision(self) -> str:
        """What it was chosen to be in."""
        return "float32" if self.kept_float else "static int8" if self.static else "int8"

    @property
    def noise(self) -> float:
        """Its power as a share of the answer's."""
        return 0.0 if self.sqnr_db is None else 10 ** (-self.sqnr_db / 10)

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {
            "block": self.block,
            "weights": self.weights,
            "sqnr_db": self.sqnr_db,
            "precision": self.precision,
        }


@dataclass(frozen=True)
class Operator:
    """An operator that can be in int8.

    `scope` is what the quantizer knows it by, the names of its outputs; `origin` adds those of
    its inputs, as an output of the network bears no path of layers. `weights` is their number, and
    `writes` that of the activations it gives.
    """

    kind: str
    scope: str
    origin: str
    weights: int
    writes: int = 0


Groups = Mapping[str, Sequence[Operator]]


@dataclass(frozen=True)
class Wanted:
    """What is to be kept by leaving blocks in float32.

    `agreement` is the share of answers, classes of the first output, which `proven_on` other images
    are to prove; `float32` names the blocks themselves. Without either, those stay that lose much
    for few weights.
    """

    agreement: float | None = None
    float32: Sequence[str] | None = None
    proven_on: int = 0


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
    groups: Groups,
    static: Groups,
    quantized: Callable[[Sequence[Operator], Sequence[Operator]], Runner],
    interface: Interface,
    inputs: Inputs,
    progress: Progress,
    wanted: Wanted,
) -> Choice:
    """What is to be in int8.

    Args:
        groups: the operators of each block.
        static: those that may be static, with activations in int8, where there is a target.
        quantized: the network with these in int8, and those in static int8.
        interface: what that takes and gives.
        inputs: by name; the first FEW tell what a block loses, all of them what a target needs.
        progress: is told how many blocks have been tried.
        wanted: what says which blocks stay in float32.

    Raises:
        UnsupportedError: nothing in the network can be in int8.
        UsageError: one that is to stay in float32 is not there, or all are.
    """
    if not groups:
        raise UnsupportedError("no convolution or linear layer here can be in int8")
    _check_named(wanted.float32 or (), groups)
    named = by_name(inputs, [tensor.name for tensor in interface.inputs])
    few = rows(named, interface.axes, slice(FEW))
    static = {block: static[block] for block in groups if block in static}

    def members(levels: Levels) -> tuple[list[Operator], list[Operator]]:
        fixed = [each for block in static if block in levels.static for each in static[block]]
        scopes = {each.scope for each in fixed}
        taken = (group for block, group in groups.items() if block not in levels.floating)
        return [each for group in taken for each in group if each.scope not in scopes], fixed

    def answers(levels: Levels, inputs: Inputs) -> Outputs:
        return interface.run(quantized(*members(levels)), inputs)

    every = frozenset(groups)
    right = answers(Levels(every), few)

    def lost(what: str, each: Callable[[str], Levels], blocks: Sequence[str]) -> list[Loss]:
        found = []
        for number, block in enumerate(blocks):
            progress(what, number, len(blocks))
            off = sqnr_db(compare(answers(each(block), few), right, answers=True).values())
            found.append(Loss(block, sum(member.weights for member in groups[block]), off))
        progress(what, len(blocks), len(blocks))
        return found

    losses = lost("what each block loses", lambda block: Levels(every - {block}), list(groups))
    if wanted.float32 is not None:
        levels, search = Levels(every & {*wanted.float32}), None
    elif wanted.agreement is None:
        levels, search = choose(losses), None
    else:
        theirs = answers(Levels(every), named)
        alone = lost(
            "what each loses in static int8",
            lambda block: Levels(every - {block}, frozenset([block])),
            list(static),
        )
        search = searched(
            {loss.block: loss.weights for loss in worst_for_their_weights(losses)},
            [loss.block for loss in least_for_their_activations(alone, static)],
            lambda levels: kept_answers(answers(levels, named), theirs),
            Target(wanted.agreement, wanted.proven_on),
            partial(progress, "what each block is in"),
        )
        levels = search.levels
        files = {"int8": Levels(), "chosen": levels, "float32": Levels(every)}
        one = rows(named, interface.axes, slice(interface.batch or 1))
        runners = {name: quantized(*members(each)) for name, each in files.items()}
        search = replace(search, milliseconds=milliseconds(runners, one))
    for loss in losses:
        loss.kept_float = loss.block in levels.floating
        loss.static = loss.block in levels.static
    losses.sort(key=lambda loss: loudness(loss.sqnr_db))
    return Choice(*members(levels), losses, search)


def _check_named(float32: Sequence[str], groups: Groups) -> None:
    for name in float32:
        if name not in groups:
            raise UsageError(f"float32 {name!r}: the blocks for int8 are {', '.join(groups)}")
    if groups.keys() <= {*float32}:
        raise UsageError("every block is to stay in float32: then leave out int8")


def worst_for_their_weights(losses: Sequence[Loss]) -> list[Loss]:
    """Those first that add most noise for their weights."""
    return sorted(losses, key=lambda each: each.noise / max(each.weights, 1), reverse=True)


def least_for_their_activations(losses: Sequence[Loss], static: Groups) -> list[Loss]:
    """Those first that add least noise for what their operators write, which is what is won."""

    def noise(loss: Loss) -> float:
        return loss.noise / max(sum(each.writes for each in static[loss.block]), 1)

    return sorted(losses, key=noise)


def choose(losses: Sequence[Loss]) -> Levels:
    """Leaves blocks in float32 until the others together are better than GOAL.

    Those come first that add most noise for their weights; noises of blocks add up in power.
    Only so many are left out that they hold no more than SPENT of the weights.
    """
    allowed, floating = SPENT * sum(loss.weights for loss in losses), set()
    noise = sum(loss.noise for loss in losses)
    for loss in worst_for_their_weights(losses):
        if noise <= 10 ** (-GOAL / 10):
            break
        if loss.weights <= allowed:
            floating.add(loss.block)
            allowed -= loss.weights
            noise -= loss.noise
    return Levels(frozenset(floating))


def by_block(operators: Sequence[Operator], blocks: Sequence[str]) -> dict[str, list[Operator]]:
    """The operators of each block, in the order of the file; an unknown one is in `OTHERS`.

    A scope has the path of layers in which the operator was made.
    """
    block_of, groups = block_finder(blocks), dict[str, list[Operator]]()
    for operator in operators:
        groups.setdefault(block_of(operator.origin) or OTHERS, []).append(operator)
    return groups
