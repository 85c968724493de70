"""The lines of the model function: blocks that differ only in a number of the name are a loop."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from onnx2mvit.ir.expr import KerasExpr, LayerName, source

SHORTEST_LOOP = 3  # statements
NUMBER = re.compile(r"(?<![0-9])(0|[1-9][0-9]{0,5})(?![0-9])")


@dataclass(frozen=True)
class Statement:
    """An expression that a variable gets; `name` is that of the layer in it."""

    variable: str
    expr: KerasExpr
    name: str

    def source(self, name: str) -> str:
        """It as Python, with the source of the layer's name."""
        return f"{self.variable} = {source(self.expr, name)}"


def loops(statements: Sequence[Statement]) -> list[str]:
    """The lines of statements; runs that differ only in a number of the name are loops."""
    lines: list[str] = []
    rest = list(statements)
    while rest:
        name, first, count = _run(rest)
        if count >= SHORTEST_LOOP:
            numbers = f"range({first}, {first + count})" if first else f"range({count})"
            lines += [f"for i in {numbers}:", f"    {rest[0].source(f'f{name!r}')}"]
        else:
            count = 1
            lines.append(rest[0].source(repr(rest[0].name)))
        rest = rest[count:]
    return lines


def _run(statements: Sequence[Statement]) -> tuple[str, int, int]:
    """The longest run at the beginning: its name with `{i}` for the number, the first, how many."""
    leader = statements[0]
    best = (leader.name, 0, 1)
    if not any(leader.expr.find(LayerName)):
        return best
    for number in NUMBER.finditer(leader.name):
        before, after = leader.name[: number.start()], leader.name[number.end() :]
        first = int(number[0])
        alike = (
            statement == replace(leader, name=f"{before}{first + index}{after}")
            for index, statement in enumerate(statements)
        )
        count = sum(1 for _ in itertools.takewhile(bool, alike))
        if count > best[2]:
            best = (f"{before}{{i}}{after}", first, count)
    return best
