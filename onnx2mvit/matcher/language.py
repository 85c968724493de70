"""The words of the language: what patterns and rules are written with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher.expression import (
    AnyOf,
    Chain,
    Commutative,
    Expr,
    ForEach,
    Op,
    Operand,
    Param,
    Rearrange,
    Var,
)
from onnx2mvit.matcher.rearrange import Notation


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
            notation: einops's, in the order of ONNX's axes: "b d h w -> b (h w) d". Its names are
                its own: in another notation of the pattern they may have other lengths.
            x: what is rearranged.
            role: of the last node.
            lengths: what some of the names are: a number, or a hyperparameter variable, which has
                one value in all of the pattern.

        Raises:
            ValueError: it is not written like that.
        """
        read = Notation(notation)
        if unknown := lengths.keys() - set(read.names):
            raise ValueError(f"{notation!r} has no {', '.join(sorted(unknown))}")
        return Rearrange(read, (x,), role, lengths)

    def Sum(  # noqa: N802 - it reads like an operator
        self, *operands: Expr, role: str | None = None
    ) -> Commutative:
        """A sum in any order, of Adds that are nested in any way, or ONNX's Sum.

        Args:
            operands: each is there once, unless it is `any_number(…)` or `at_most_one(…)`.
            role: of the last node.
        """
        return Commutative(("Add", "Sum"), _operands(operands), role)

    def Product(  # noqa: N802 - it reads like an operator
        self, *operands: Expr, role: str | None = None
    ) -> Commutative:
        """A product in any order, of Muls that are nested in any way.

        Args:
            operands: as in `Sum`.
            role: of the last node.
        """
        return Commutative(("Mul",), _operands(operands), role)

    def __getattr__(self, name: str) -> Callable[..., Op]:
        def make(*inputs: Expr, role: str | None = None, **attrs: Any) -> Op:
            return Op(name, inputs, role, attrs)

        return make


def _operands(given: tuple[Expr, ...]) -> tuple[Operand, ...]:
    return tuple(each if isinstance(each, Operand) else Operand((each,)) for each in given)


def maybe(expression: Op) -> AnyOf:
    """This node, or nothing in its place: its first input is the value itself."""
    return AnyOf((expression, expression.parts[0]))


def any_of(*alternatives: Expr) -> AnyOf:
    """One of these, tried in this order."""
    return AnyOf(alternatives)


def one_or_more(kind: str, base: Expr, *, role: str, **attrs: Any) -> Chain:
    """`kind(kind(…kind(base)))`, blocks of one kind, one behind the other.

    Args:
        kind: of the blocks.
        base: what the first one reads.
        role: binds a tuple of the blocks, nearest the input first.
        attrs: what each of them must have.
    """
    return Chain(kind, (base,), role, attrs)


def each(expression: Expr, *, role: str) -> ForEach:
    """The only operand of `op.Concat(each(…))`: every input of the node is like this.

    Args:
        expression: each is matched for itself: that they share a value is for the one who reads
            them to require.
        role: binds a tuple of matches, one for each input; what is named in the expression is an
            attribute of theirs.
    """
    return ForEach((expression,), role)


def any_number(expression: Op, *, role: str, least: int = 1) -> Operand:
    """In `op.Sum(…)`: all further operands that are like this node.

    Args:
        expression: the node. What stands in it is another for each of them, save for variables and
            what other operands have as well.
        role: binds a tuple of these nodes in the order of the graph.
        least: so many there must be.
    """
    return Operand((expression,), role, least, None)


def at_most_one(expression: Op) -> Operand:
    """In `op.Sum(…)`: this operand, or none in its place."""
    return Operand((expression,), None, 0, 1)


def kind_of(op: str, **attrs: Any) -> Callable[..., Op]:
    """A name for operators or blocks with some hyperparameters.

    `PointwiseConv = kind_of("ConvBnAct", kernel_size=1)` is used as `PointwiseConv(x, role="in")`.

    Args:
        op: the operator, or the kind of the block.
        attrs: what it must have.
    """

    def make(*inputs: Expr, role: str | None = None, **further: Any) -> Op:
        return Op(op, inputs, role, attrs | further)

    return make


def constant(name: str, *, rank: int | None = None) -> Var:
    """A constant: `name` is its role, `rank` how many axes it has, by default any number."""

    def check(value: Value) -> str | None:
        if value.const is None:
            return "is not a constant"
        if rank is not None and value.const.ndim != rank:
            return f"has rank {value.const.ndim}, not {rank}"
        return None

    return Var(name, check, constant=True)


def optional(name: str, *, rank: int | None = None) -> Var:
    """A constant operand that may be absent, as Conv's bias; `name` and `rank` as in `constant`."""
    return Var(name, constant(name, rank=rank).check, optional=True, constant=True)


def scalar(name: str, expected: float | None = None, *, rel: float = 1e-5) -> Var:
    """A constant with one element.

    Args:
        name: its role.
        expected: what it must be; by default any number.
        rel: how far off it may be, relative to `expected`.
    """

    def check(value: Value) -> str | None:
        if value.const is None or value.const.size != 1:
            return "is not a constant with one element"
        number = float(value.const.reshape(()))
        if expected is not None and not abs(number - expected) <= rel * abs(expected):  # or NaN
            return f"is {number:g}, not {expected:g}"
        return None

    return Var(name, check, constant=True)
