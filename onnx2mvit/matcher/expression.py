"""The expressions that the language is made of; `language` has the words that make them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from onnx2mvit.ir.graph import Node, Value
from onnx2mvit.matcher.rearrange import MOVES, Notation

# Two operands of theirs may stand in either order.
COMMUTATIVE = frozenset({"Add", "Mul", "Max", "Min", "And", "Or", "Xor", "Equal", "Sum", "Mean"})

Check = Callable[[Value], str | None]
NOTHING: Mapping[Any, Any] = MappingProxyType({})


class Expr:
    """Something that a value of the graph may match.

    Attributes:
        parts: the expressions in it, in the order of the text.
        role: what it is called in a match.
        keywords: what is said of its last node, or of lengths of its axes, by name.
        roots: the operators that its last node may have.
    """

    parts: tuple[Expr, ...]
    role: str | None
    keywords: Mapping[str, Any]

    @property
    def roots(self) -> frozenset[str]:
        """The operators that its last node may have."""
        return frozenset()

    @property
    def ends(self) -> frozenset[str] | None:
        """The same; None where it may be any value."""
        return self.roots

    @property
    def needs(self) -> frozenset[str]:
        """The operators that all of its forms have."""
        own = self.roots if len(self.roots) == 1 else frozenset()
        return own.union(*(part.needs for part in self.parts))

    @cached_property  # parts are shared, and asked for it again and again
    def size(self) -> int:
        """How many nodes the smallest form of it has; what stands twice counts twice."""
        return sum(part.size for part in self.parts)

    def walk(self) -> Iterator[Expr]:
        """The expression and everything in it; shared parts come once."""
        seen: dict[int, Expr] = {}
        stack: list[Expr] = [self]
        while stack:
            part = stack.pop()
            if id(part) not in seen:
                seen[id(part)] = part
                stack.extend(reversed(part.parts))
        return iter(seen.values())


@dataclass(frozen=True)
class Var(Expr):
    """Any value; the same name again must be the same value. `check` returns a complaint.

    Where it is `constant`, the check passes nothing else.
    """

    role: str
    check: Check | None = field(default=None, compare=False)
    optional: bool = field(default=False, compare=False)
    constant: bool = field(default=False, compare=False)
    parts = ()
    keywords = NOTHING
    ends = None


@dataclass(frozen=True, eq=False)
class Op(Expr):
    """The first output of a node of this operator or kind."""

    op: str
    parts: tuple[Expr, ...]
    role: str | None
    keywords: dict[str, Any]

    @property
    def roots(self) -> frozenset[str]:
        """This operator."""
        return frozenset({self.op})

    @cached_property
    def size(self) -> int:
        """The node and its operands."""
        return 1 + sum(part.size for part in self.parts)

    def misfit(self, node: Node) -> tuple[str, Any, Any] | None:
        """A keyword, what a node has there, and the value or predicate that it must satisfy.

        What a node does not have a hyperparameter variable does not ask for.
        """
        for keyword, expected in self._expected:
            found = node.attrs.get(keyword)
            if not expected(found) if callable(expected) else found != expected:
                return keyword, found, expected
        for keyword, check in self._checked:
            if keyword in node.attrs and not check(node.attrs[keyword]):
                return keyword, node.attrs[keyword], check
        return None

    @cached_property
    def _expected(self) -> tuple[tuple[str, Any], ...]:
        return tuple((k, v) for k, v in self.keywords.items() if not isinstance(v, Param))

    @cached_property
    def _checked(self) -> tuple[tuple[str, Callable[[Any], bool]], ...]:
        return tuple((k, param.check) for k, param in self.variables if param.check is not None)

    @cached_property
    def variables(self) -> tuple[tuple[str, Param], ...]:
        """The hyperparameter variables of its keywords."""
        return tuple((k, v) for k, v in self.keywords.items() if isinstance(v, Param))


@dataclass(frozen=True, eq=False)
class Chain(Op):
    """One or more nodes of a kind, each on the first input of the next, as many as there are."""


@dataclass(frozen=True, eq=False)
class AnyOf(Expr):
    """One of several, tried in this order."""

    parts: tuple[Expr, ...]
    role = None
    keywords = NOTHING

    @property
    def roots(self) -> frozenset[str]:
        """Those of all of them."""
        return frozenset().union(*(part.roots for part in self.parts))

    @property
    def ends(self) -> frozenset[str] | None:
        """The same; None if one of them may be any value."""
        return None if any(part.ends is None for part in self.parts) else self.roots

    @property
    def needs(self) -> frozenset[str]:
        """Those that all of them have."""
        return frozenset.intersection(*(part.needs for part in self.parts))

    @cached_property
    def size(self) -> int:
        """That of the smallest."""
        return min(part.size for part in self.parts)


@dataclass(frozen=True, eq=False)
class ForEach(Expr):
    """All inputs of a node, however many there are, each like this expression by itself."""

    parts: tuple[Expr]
    role: str
    keywords = NOTHING


@dataclass(frozen=True, eq=False)
class Rearrange(Expr):
    """What a chain of Reshapes and Transposes makes of a value, however it is cut into nodes."""

    notation: Notation
    parts: tuple[Expr]
    role: str | None
    keywords: dict[str, int | Param]

    @property
    def roots(self) -> frozenset[str]:
        """Either may be the last."""
        return frozenset(MOVES)

    @cached_property
    def known(self) -> dict[str, int]:
        """The lengths that are numbers."""
        return {name: length for name, length in self.keywords.items() if isinstance(length, int)}

    @cached_property
    def size(self) -> int:
        """One node at least, and what is rearranged."""
        return 1 + sum(part.size for part in self.parts)


@dataclass(frozen=True, eq=False)
class Operand(Expr):
    """One of a sum or product, or as many as there are, each like this expression."""

    parts: tuple[Expr]
    role: str | None = None
    least: int = 1
    most: int | None = 1
    keywords = NOTHING

    @property
    def needs(self) -> frozenset[str]:
        """Those of the expression, if it must be there."""
        return super().needs if self.least else frozenset()

    @property
    def name(self) -> str:
        """What it is called in a sentence."""
        (expression,) = self.parts
        op = expression.op if isinstance(expression, Op) else "operand"
        return self.role or expression.role or op


@dataclass(frozen=True, eq=False)
class Commutative(Expr):
    """What nodes of these operators make of operands, in any order and however they are nested."""

    ops: tuple[str, ...]
    parts: tuple[Operand, ...]
    role: str | None
    keywords = NOTHING

    @property
    def roots(self) -> frozenset[str]:
        """These operators."""
        return frozenset(self.ops)

    @cached_property
    def size(self) -> int:
        """One node at least, and the operands that must be there."""
        return 1 + sum(part.size * part.least for part in self.parts)


@dataclass(frozen=True)
class Param:
    """A hyperparameter variable: the same name again must be the same value.

    It becomes a parameter of the block, by its name. Where a block does not have it, as the
    epsilon of an absent normalization, nothing is compared.
    """

    name: str
    check: Callable[[Any], bool] | None = field(default=None, compare=False)

    def where(self, check: Callable[[Any], bool]) -> Param:
        """The same variable, whose value must satisfy a predicate here."""
        return Param(self.name, check)
