"""What a choice of int8 is made among: a network whose blocks are each in one precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnx2mvit.builder import block_finder
from onnx2mvit.deployment.interface import Interface
from onnx2mvit.runtimes import Inputs, Outputs, Runner, compare, sqnr_db
from onnx2mvit.runtimes.runner import batch_size, by_name, rows

Images = Mapping[str, np.ndarray[Any, Any]]
FEW = 16  # images on which each block by itself is tried
OTHERS = "(others)"


@dataclass(frozen=True)
class Operator:
    """An operator that can be in int8.

    `scope` is what the quantizer knows it by, the names of its outputs; `origin` adds those of
    its inputs, as an output of the network bears no path of layers. `weights` is their number, and
    `saved` is what int8 saves of its time, in any unit that is the same for all.
    """

    kind: str
    scope: str
    origin: str
    weights: int = 0
    saved: float = 0.0


Groups = Mapping[str, Sequence[Operator]]


@dataclass(frozen=True)
class Levels:
    """Blocks in float32, and blocks in static int8; the others are in dynamic int8."""

    floating: frozenset[str] = frozenset()
    static: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Loss:
    """A block, and what the answer loses if it alone is in int8.

    `sqnr_db` is None where nothing is lost; `weights` counts those that can be in int8, and `saved`
    is what that saves of the time.
    """

    block: str
    weights: int
    sqnr_db: float | None
    saved: float = 0.0
    precision: str = "int8"

    @property
    def noise(self) -> float:
        """Its power as a share of the answer's."""
        return 0.0 if self.sqnr_db is None else 10 ** (-self.sqnr_db / 10)

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        shown = ("block", "weights", "sqnr_db", "precision")
        return {name: getattr(self, name) for name in shown}


@dataclass(frozen=True)
class Candidates:
    """A network with each of its blocks in float32, in dynamic or in static int8.

    Attributes:
        interface: what it takes and gives.
        groups: the operators of each block that can be dynamic.
        quantized: the network with some of these, and of the next, in int8.
        static: the operators of blocks that can be static.
    """

    interface: Interface
    groups: Groups
    quantized: Callable[[Sequence[Operator], Sequence[Operator]], Runner]
    static: Groups = field(default_factory=dict)

    @property
    def every(self) -> frozenset[str]:
        """All blocks."""
        return frozenset(self.groups)

    def alone(self, block: str, static: bool = False) -> Levels:
        """Only one block is in int8."""
        return Levels(self.every - {block}, frozenset([block] if static else ()))

    def members(self, levels: Levels) -> tuple[list[Operator], list[Operator]]:
        """The operators that are dynamic, and those that are static."""
        fixed = [
            each for name, group in self.static.items() if name in levels.static for each in group
        ]
        scopes = {each.scope for each in fixed}
        taken = (group for block, group in self.groups.items() if block not in levels.floating)
        return [each for group in taken for each in group if each.scope not in scopes], fixed

    def runner(self, levels: Levels) -> Runner:
        """Runs the network at these levels."""
        return self.quantized(*self.members(levels))

    def answers(self, levels: Levels, inputs: Images) -> Outputs:
        """What it gives at these levels, by the outputs' names."""
        return self.interface.run(self.runner(levels), inputs)

    def losses(
        self, inputs: Images, progress: Callable[[int, int], None], static: bool = False
    ) -> list[Loss]:
        """What each block loses and saves by being in int8, or in static int8, alone.

        Args:
            inputs: images, by name, on which that is measured.
            progress: is told how many blocks have been tried.
            static: of those that can be static.
        """
        right, found = self.answers(Levels(self.every), inputs), []
        blocks = list(self.static if static else self.groups)
        for number, block in enumerate(blocks):
            progress(number, len(blocks))
            levels = self.alone(block, static)
            compared = compare(self.answers(levels, inputs), right, answers=True)
            weights = sum(each.weights for each in self.groups[block])
            saved = sum(each.saved for group in self.members(levels) for each in group)
            found.append(Loss(block, weights, sqnr_db(compared.values()), saved))
        progress(len(blocks), len(blocks))
        return found


def split(interface: Interface, inputs: Inputs, aims: bool) -> tuple[Images, Images]:
    """Images by which blocks are ranked, and those on which a target is decided.

    The first are FEW, or with a target at most half; the others are what is left, so that the order
    in which choices are tried says nothing of them. Of one image both are that one.

    Args:
        interface: what the network takes.
        inputs: by name, or the array that it takes alone.
        aims: whether there is a target.
    """
    named = by_name(inputs, [tensor.name for tensor in interface.inputs])
    count = batch_size(named, interface.axes) or 1
    few = max(1, min(FEW, count // 2)) if aims else FEW
    ranked, others = (rows(named, interface.axes, slice(*ends)) for ends in ((few,), (few, None)))
    return ranked, others if count > few else ranked


def by_block(operators: Sequence[Operator], blocks: Sequence[str]) -> dict[str, list[Operator]]:
    """The operators of each block, in the order of the file; an unknown one is in `OTHERS`.

    A scope has the path of layers in which the operator was made.
    """
    block_of, groups = block_finder(blocks), dict[str, list[Operator]]()
    for operator in operators:
        groups.setdefault(block_of(operator.origin) or OTHERS, []).append(operator)
    return groups
