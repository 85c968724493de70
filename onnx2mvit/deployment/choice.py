"""Which blocks are in int8, and which stay in float32: what each loses, and what is chosen by it.

Without a target those stay in float32 that lose most for their weights; with one, as many as it
takes to keep a share of the answers (`search`), or those that are named.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from onnx2mvit.builder import block_finder
from onnx2mvit.deployment.interface import Interface
from onnx2mvit.deployment.kept import Kept, kept_answers
from onnx2mvit.deployment.search import Search, milliseconds, searched
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
            "precision": "float32" if self.kept_float else "int8",
        }


@dataclass(frozen=True)
class Operator:
    """An operator that can be in int8.

    `scope` is what the quantizer knows it by, the names of its outputs; `origin` adds those of
    its inputs, as an output of the network bears no path of layers. `weights` is their number.
    """

    kind: str
    scope: str
    origin: str
    weights: int


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

    `search` says how the target was reached, where there was one.
    """

    members: list[Operator]
    losses: list[Loss]
    search: Search | None = None


def chosen(
    groups: Groups,
    quantized: Callable[[Sequence[Operator]], Runner],
    interface: Interface,
    inputs: Inputs,
    progress: Progress,
    wanted: Wanted,
) -> Choice:
    """What is to be in int8.

    Args:
        groups: the operators of each block.
        quantized: the network with these in int8.
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

    def in_int8(blocks: Sequence[str]) -> Runner:
        return quantized([member for block in blocks for member in groups[block]])

    def answers(blocks: Sequence[str], inputs: Inputs) -> Outputs:
        return interface.run(in_int8(blocks), inputs)

    right, losses = answers((), few), []
    for number, (block, members) in enumerate(groups.items()):
        progress("what each block loses", number, len(groups))
        lost = sqnr_db(compare(answers([block], few), right, answers=True).values())
        losses.append(Loss(block, sum(member.weights for member in members), lost))
    progress("what each block loses", len(groups), len(groups))
    search = None
    if wanted.float32 is not None:
        for loss in losses:
            loss.kept_float = loss.block in wanted.float32
    elif wanted.agreement is None:
        choose(losses)
    else:
        theirs = answers((), named)

        def kept(floating: Collection[str]) -> Kept:
            return kept_answers(answers([b for b in groups if b not in floating], named), theirs)

        weights = {loss.block: loss.weights for loss in worst_for_their_weights(losses)}
        told = partial(progress, "what must stay in float32")
        search = searched(weights, kept, wanted.agreement, wanted.proven_on, told)
        for loss in losses:
            loss.kept_float = loss.block in search.floating
    taken = [loss.block for loss in losses if not loss.kept_float]
    if search is not None:
        files = {"int8": list(groups), "chosen": taken, "float32": []}
        one = rows(named, interface.axes, slice(interface.batch or 1))
        runners = {name: in_int8(blocks) for name, blocks in files.items()}
        search = replace(search, milliseconds=milliseconds(runners, one))
    losses.sort(key=lambda loss: loudness(loss.sqnr_db))
    return Choice([member for block in taken for member in groups[block]], losses, search)


def _check_named(float32: Sequence[str], groups: Groups) -> None:
    for name in float32:
        if name not in groups:
            raise UsageError(f"float32 {name!r}: the blocks for int8 are {', '.join(groups)}")
    if groups.keys() <= {*float32}:
        raise UsageError("every block is to stay in float32: then leave out int8")


def worst_for_their_weights(losses: Sequence[Loss]) -> list[Loss]:
    """Those first that add most noise for their weights."""
    return sorted(losses, key=lambda each: each.noise / max(each.weights, 1), reverse=True)


def choose(losses: Sequence[Loss]) -> None:
    """Leaves blocks in float32 until the others together are better than GOAL.

    Those come first that add most noise for their weights; noises of blocks add up in power.
    Only so many are left out that they hold no more than SPENT of the weights.
    """
    allowed = SPENT * sum(loss.weights for loss in losses)
    noise = sum(loss.noise for loss in losses)
    for loss in worst_for_their_weights(losses):
        if noise <= 10 ** (-GOAL / 10):
            break
        if loss.weights <= allowed:
            loss.kept_float = True
            allowed -= loss.weights
            noise -= loss.noise


def by_block(operators: Sequence[Operator], blocks: Sequence[str]) -> dict[str, list[Operator]]:
    """The operators of each block, in the order of the file; an unknown one is in `OTHERS`.

    A scope has the path of layers in which the operator was made.
    """
    block_of, groups = block_finder(blocks), dict[str, list[Operator]]()
    for operator in operators:
        groups.setdefault(block_of(operator.origin) or OTHERS, []).append(operator)
    return groups
