"""The expressions that the language is made of, and the words that make them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher.rearrange import MOVES, Notation

Check = Callable[[Value], str | None]


class Expr:
    """Something that a value of the graph may match."""


@dataclass(frozen=True)
class Var(Expr):
    """Any value; the same name again must be the same value. `check` returns a complaint."""

    name: str
    check: Check | None = field(default=None, compare=False)
    optional: bool = field(default=False, compare=False)


@dataclass(frozen=True, eq=False)
class Op(Expr):
    """The first output of a node of this operator or kind."""

    op: str
    inputs: tuple[Expr, ...]
    role: str | None
    attrs: dict[str, Any]


@dataclass(frozen=True, eq=False)
class AnyOf(Expr):
    """One of several, tried in this order."""

    alternatives: tuple[Expr, ...]


@dataclass(frozen=True, eq=False)
class Chain(Expr):
    """One or more nodes of a kind, each on the first input of the next, as many as there are."""

    op: str
    base: Expr
    role: str
    attrs: dict[str, Any]


@dataclass(frozen=True, eq=False)
class ForEach(Expr):
    """All inputs of a node, however many there are, each like this expression by itself."""

    expression: Expr
    role: str


@dataclass(frozen=True, eq=False)
class Rearrange(Expr):
    """What a chain of Reshapes and Transposes makes of a value, however it is cut into nodes."""

    notation: Notation
    base: Expr
    role: str | None
    lengths: dict[str, int | Param]


@dataclass(frozen=True, eq=False)
class AnyNumber(Expr):
    """As many operands of a sum or product as there are, each like this expression."""

    expression: Op
    role: str | None
    least: int
    most: int | None


@dataclass(frozen=True, eq=False)
class Commutative(Expr):
    """What nodes of these operators make of operands, in any order and however they are nested."""

    ops: tuple[str, ...]
    operands: tuple[Expr, ...]
    role: str | None


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


class Params:
    """`p.activation` is the variable of that name, `**p("activation", "padding")` are several."""

    def __getattr__(self, name: str) -> Param:
        return Param(name)

    def __call__(self, *names: str) -> dict[str, Param]:
        """Keywords whose variables are called like them."""
        return {name: Param(name) for name in names}


p = Params()


class Ops:
    """`op.Conv(x, weight, role="conv", group=1)` makes the expression for a Conv."""

    def Rearrange(  # noqa: N802 - it reads like an operator
        self, notation: str, x: Expr, *, role: str | None = None, **lengths: int | Param
    ) -> Rearrange:
        """Any chain of Reshapes and Transposes that does what the notation says.

        Args:
            notation: einops's, in the order of ONNX's axes: "b d h w -> b (h w) d". A name has the
                same length in all of a pattern.
            x: what is rearranged.
            role: of the last node.
            lengths: what some of the names are: a number, or a hyperparameter variable.

        Raises:
            ValueError: it is not written like that.
        """
        read = Notation(notation)
        if unknown := lengths.keys() - set(read.names):
            raise ValueError(f"{notation!r} has no {', '.join(sorted(unknown))}")
        return Rearrange(read, x, role, lengths)

    def Sum(  # noqa: N802 - it reads like an operator
        self, *operands: Expr, role: str | None = None
    ) -> Commutative:
        """A sum of these operands in any order, of Adds that are nested in any way, or ONNX's Sum.

        Each is there once, unless it is `any_number(…)` or `at_most_one(…)`.
        """
        return Commutative(("Add", "Sum"), operands, role)

    def Product(  # noqa: N802 - it reads like an operator
        self, *operands: Expr, role: str | None = None
    ) -> Commutative:
        """A product of these operands in any order, of Muls that are nested in any way."""
        return Commutative(("Mul",), operands, role)

    def __getattr__(self, name: str) -> Callable[..., Op]:
        def make(*inputs: Expr, role: str | None = None, **attrs: Any) -> Op:
            return Op(name, inputs, role, attrs)

        return make


def maybe(expression: Op) -> AnyOf:
    """This node, or nothing in its place: its first input is the value itself."""
    return AnyOf((expression, expression.inputs[0]))


def any_of(*alternatives: Expr) -> AnyOf:
    """One of these, tried in this order."""
    return AnyOf(alternatives)


def one_or_more(kind: str, base: Expr, *, role: str, **attrs: Any) -> Chain:
    """`kind(kind(…kind(base)))`; the role binds a tuple of blocks, nearest the input first."""
    return Chain(kind, base, role, attrs)


def each(expression: Expr, *, role: str) -> ForEach:
    """The only operand of `op.Concat(each(…))`: every input of the node is like this.

    The role binds a tuple of matches, one for each input; what is named in the expression is an
    attribute of theirs. Each is matched for itself: that they share a value is for the one who
    reads them to require.
    """
    return ForEach(expression, role)


def any_number(expression: Op, *, role: str, least: int = 1) -> AnyNumber:
    """In `op.Sum(…)`: all further operands that are like this node, at least so many.

    The role binds a tuple of these nodes in the order of the graph. What stands in the expression
    is another for each of them, save for variables and what other operands have as well.
    """
    return AnyNumber(expression, role, least, None)


def at_most_one(expression: Op) -> AnyNumber:
    """In `op.Sum(…)`: this operand, or none in its place."""
    return AnyNumber(expression, None, 0, 1)


def kind_of(op: str, **attrs: Any) -> Callable[..., Op]:
    """A name for operators or blocks with these hyperparameters.

    `PointwiseConv = kind_of("ConvBnAct", kernel_size=1)` is used as `PointwiseConv(x, role="in")`.
    """

    def make(*inputs: Expr, role: str | None = None, **further: Any) -> Op:
        return Op(op, inputs, role, attrs | further)

    return make


def constant(name: str, *, rank: int | None = None) -> Var:
    """A constant, of this rank if one is given."""

    def check(value: Value) -> str | None:
        if value.const is None:
            return "is not a constant"
        if rank is not None and value.const.ndim != rank:
            return f"has rank {value.const.ndim}, not {rank}"
        return None

    return Var(name, check)


def optional(name: str, *, rank: int | None = None) -> Var:
    """A constant operand that may be absent, as Conv's bias."""
    return Var(name, constant(name, rank=rank).check, optional=True)


def scalar(name: str, expected: float | None = None, *, rel: float = 1e-5) -> Var:
    """A constant with one element, equal to `expected` within the relative tolerance."""

    def check(value: Value) -> str | None:
        if value.const is None or value.const.size != 1:
            return "is not a constant with one element"
        number = float(value.const.reshape(()))
        if expected is not None and not abs(number - expected) <= rel * abs(expected):  # or NaN
            return f"is {number:g}, not {expected:g}"
        return None

    return Var(name, check)


def subexpressions(expression: Expr) -> Iterator[Expr]:
    """The expression and everything in it; shared parts come once."""
    seen: set[int] = set()
    stack = [expression]
    while stack:
        part = stack.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        match part:
            case Op():
                stack.extend(reversed(part.inputs))
            case AnyOf():
                stack.extend(reversed(part.alternatives))
            case Chain():
                stack.append(part.base)
            case Rearrange():
                stack.append(part.base)
            case Commutative():
                stack.extend(reversed(part.operands))
            case ForEach() | AnyNumber():
                stack.append(part.expression)


def root_ops(expression: Expr) -> set[str]:
    """The operators that the last node of the expression may have."""
    match expression:
        case Op() | Chain():
            return {expression.op}
        case Rearrange():
            return set(MOVES)
        case Commutative():
            return set(expression.ops)
        case AnyOf():
            return set().union(*map(root_ops, expression.alternatives))
    return set()


def variables(expression: Expr) -> tuple[str, ...]:
    """The names of the hyperparameter variables in an expression, in the order of the text."""
    found: list[str] = []
    for part in subexpressions(expression):
        match part:
            case Op() | Chain():
                keywords = part.attrs
            case Rearrange():
                keywords = part.lengths
            case _:
                continue
        found += [value.name for value in keywords.values() if isinstance(value, Param)]
    return tuple(dict.fromkeys(found))
