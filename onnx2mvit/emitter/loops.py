"""The lines of the model function: blocks that differ only in a number of the name are a loop."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from onnx2mvit.ir.expr import KerasExpr, LayerName, source

LONGEST_BODY = 4  # statements
NUMBER = re.compile(r"(?<![0-9])(0|[1-9][0-9]{0,5})(?![0-9])")


@dataclass(frozen=True)
class Statement:
    """An expression that a variable gets; `name` is that of the layer in it."""

    variable: str
    expr: KerasExpr
    name: str

    @property
    def is_named(self) -> bool:
        """Whether the name stands in it."""
        return any(self.expr.find(LayerName))

    def source(self, name: str) -> str:
        """It as Python, with the source of the layer's name."""
        return f"{self.variable} = {source(self.expr, name)}"


@dataclass(frozen=True)
class Loop:
    """Statements, each with `{i}` for a number of its name, for `count` numbers from `first`."""

    body: tuple[Statement, ...]
    first: int
    count: int

    @property
    def spared(self) -> int:
        """How many lines fewer it has than the statements that it stands for."""
        return self.count * len(self.body) - len(self.body) - 1

    def lines(self) -> list[str]:
        """It as Python."""
        end = self.first + self.count
        numbers = f"range({self.first}, {end})" if self.first else f"range({end})"
        body = [each.source(f"f{each.name!r}") for each in self.body]
        return [f"for i in {numbers}:", *(f"    {line}" for line in body)]


def loops(statements: Sequence[Statement]) -> list[str]:
    """The lines of statements; where some come again with the next number, they are a loop."""
    lines: list[str] = []
    rest = [each if each.is_named else replace(each, name="") for each in statements]
    while rest:
        loop = _next(rest)
        if loop is not None:
            lines += loop.lines()
            rest = rest[loop.count * len(loop.body) :]
        else:
            lines.append(rest[0].source(repr(rest[0].name)))
            rest = rest[1:]
    return lines


def _next(statements: list[Statement]) -> Loop | None:
    """The loop at the beginning with the shortest body that spares lines, if there is one."""
    leader = statements[0]
    if not leader.is_named:
        return None
    numbers = dict.fromkeys(int(number[0]) for number in NUMBER.finditer(leader.name))
    for length in range(1, LONGEST_BODY + 1):
        found = [_loop(statements, length, first) for first in numbers]
        fitting = [loop for loop in found if loop is not None and loop.spared > 0]
        if fitting:
            return max(fitting, key=lambda loop: loop.count)
    return None


def _loop(statements: list[Statement], length: int, first: int) -> Loop | None:
    """The loop with a body of so many statements whose first number this is."""
    pairs = zip(statements[:length], statements[length : 2 * length], strict=False)
    body = tuple(each for pair in pairs if (each := _numbered(*pair, first)) is not None)
    if len(body) < length:
        return None
    rounds = (
        [_with(each, first + number) for each in body]
        == statements[number * length : (number + 1) * length]
        for number in itertools.count()
    )
    return Loop(body, first, sum(1 for _ in itertools.takewhile(bool, rounds)))


def _numbered(statement: Statement, following: Statement, first: int) -> Statement | None:
    """A statement with `{i}` for that number of its name which is one more in the following."""
    if not statement.is_named:
        return statement if statement == following else None
    for number in NUMBER.finditer(statement.name):
        before, after = statement.name[: number.start()], statement.name[number.end() :]
        numbered = replace(statement, name=f"{before}{{i}}{after}")
        if int(number[0]) == first and _with(numbered, first + 1) == following:
            return numbered
    return None


def _with(statement: Statement, number: int) -> Statement:
    return replace(statement, name=statement.name.replace("{i}", str(number)))
