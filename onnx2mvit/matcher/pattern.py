"""The pattern language: what a block looks like in ONNX, written like the formula in the paper.

    class InvertedResidual(Pattern):
        def onnx(self, op, x):
            y = maybe(op.ConvBnAct(x, role="expand", kernel_size=1))
            y = op.ConvBnAct(y, role="depthwise", depthwise=True)
            y = op.ConvBnAct(y, role="project", kernel_size=1, activation=None)
            return any_of(op.Add(x, y), y)

`op.Anything(...)` is a node of that ONNX operator, or a block of that kind that was recognised
before. Positional arguments are its inputs, in order; keywords are attributes (or, for a block,
hyperparameters) that must have this value or satisfy this predicate. The same variable, or the
same expression, used twice must be the same value; two variables may be one value.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from onnx2mvit.ir.block import BlockType
from onnx2mvit.ir.graph import Value

if TYPE_CHECKING:
    from onnx2mvit.matcher.match import Match

Array = np.ndarray[Any, Any]
Check = Callable[[Value], str | None]

TRAINING = "it is in training mode: export the model after model.eval()"


class Mismatch(Exception):  # noqa: N818 - it is an answer, not an error
    """Raised while hyperparameters are read: this is not the block, and why."""


def require(condition: bool, reason: str) -> None:
    """Rejects a match with a reason unless the condition holds."""
    if not condition:
        raise Mismatch(reason)


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
class Each(Expr):
    """All inputs of a node, however many there are, each like this expression by itself."""

    expression: Expr
    role: str


class Ops:
    """`op.Conv(x, weight, role="conv", group=1)` makes the expression for a Conv."""

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


def each(expression: Expr, *, role: str) -> Each:
    """The only operand of `op.Concat(each(…))`: every input of the node is like this.

    The role binds a tuple of matches, one for each input; what is named in the expression is an
    attribute of theirs. Each is matched for itself: that they share a value is for the one who
    reads them to require.
    """
    return Each(expression, role)


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
            case Each():
                stack.append(part.expression)


def root_ops(expression: Expr) -> set[str]:
    """The operators that the last node of the expression may have."""
    match expression:
        case Op() | Chain():
            return {expression.op}
        case AnyOf():
            return set().union(*map(root_ops, expression.alternatives))
    return set()


class Rooted:
    """An expression with the roles, operators and roots that it mentions, worked out once."""

    expression: Expr

    def onnx(self, op: Ops, x: Var) -> Expr:
        """What it looks like in ONNX; `x` is its input."""
        raise NotImplementedError

    def __init__(self) -> None:
        self.expression = self.onnx(Ops(), Var("x"))
        parts = list(subexpressions(self.expression))
        self.roots = root_ops(self.expression)
        self.ops = {part.op for part in parts if isinstance(part, Op | Chain)}
        named = [
            part.name if isinstance(part, Var) else part.role
            for part in parts
            if isinstance(part, Var | Op | Chain | Each)
        ]
        self.roles = tuple(dict.fromkeys(name for name in named if name))


class Pattern(Rooted, BlockType, ABC):
    """One block: what it looks like in ONNX and what it becomes in Keras.

    A *leaf* is one Keras layer, named in `layer`; where it owns weights, `weights` hands them
    out in Keras's layout. A *composite* is made of other blocks, and never touches a tensor:
    `keras` names the function of its file whose source lands in the emitted module. Its
    parameters are that function's arguments. A parameter of the network that has no node of its
    own, as a class token, is between the two: a function makes the layer, called `name`, and
    `weights` has what the node reads.

    In that function a layer is called after its role in the pattern: `name="norm"`,
    `name=f"layer.{i}"` in a chain, `name=f"{name}_conv"` where the function is not nested. The
    emitter puts torch's names there. The role in `main` takes the name of the block itself.

    `before` names kinds that would take a part of this block if they were sought first.
    """

    before: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def onnx(self, op: Ops, x: Var) -> Expr:
        """What it looks like, in terms of operators and lower blocks."""

    @abstractmethod
    def params(self, m: Match) -> dict[str, Any]:
        """The hyperparameters, read off the match; raises Mismatch where it is not this block."""

    def weights(self, m: Match) -> dict[str, Array]:
        """A leaf's tensors by Keras's variable name and in Keras's layout."""
        return {}
