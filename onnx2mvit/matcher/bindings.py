"""What a search has bound so far, and how far it came."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from onnx2mvit.ir.graph import Node, Value
from onnx2mvit.matcher.expression import Expr, Param


@dataclass(frozen=True, slots=True)
class Complaint:
    """How a node, None for an input or a constant, is not what an expression says of it.

    `found` and `expected` (a value, or a predicate that is not satisfied) are those of `keyword`;
    without one it is another operator, or another output than the first. `of` says where a
    hyperparameter variable has the expected value.
    """

    op: str
    role: str | None
    node: Node | None
    value: Value | None
    keyword: str | None = None
    found: Any = None
    expected: Any = None
    of: str = ""

    def __str__(self) -> str:
        wanted = f"{self.role} ({self.op})" if self.role else self.op
        if self.node is None:
            return f"{wanted} expected, but {self.value!r} is an input or a constant"
        if self.of:
            have = f"{self.role or self.op} has {self.keyword} {self.found!r}"
            elsewhere = "not" if self.of == (self.role or self.op) else f"{self.of} has"
            return f"{have}, {elsewhere} {self.expected!r}"
        if self.keyword is not None:
            instead = "" if callable(self.expected) else f", not {self.expected!r}"
            return f"{wanted}: {self.keyword} is {self.found!r}{instead}"
        if self.node.op != self.op:
            return f"{wanted} expected, found {self.node!r}"
        return f"{wanted}: another output than the first is used"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a pattern does not hold: how many nodes fitted, where it ended and what was different.

    `whole` is true where all of the nodes fitted, but not their hyperparameters or their readers.
    """

    pattern: str
    fitted: int
    node: Node | None
    complaint: str | Complaint
    whole: bool = False

    @property
    def differs(self) -> bool:
        """True if it ended where a hyperparameter is not that of another node."""
        return isinstance(self.complaint, Complaint) and bool(self.complaint.of)

    @property
    def reason(self) -> str:
        """What was different, in short."""
        return str(self.complaint)

    def __str__(self) -> str:
        return f"{self.pattern}: {self.reason}"


@dataclass(slots=True)
class Trace:
    """Remembers the attempt that came furthest; reasons are only put into words when asked for."""

    pattern: str = ""
    furthest: Failure | None = None
    touched: set[Node] = field(default_factory=set)

    def note(
        self, fitted: int, node: Node | None, reason: str | Complaint, whole: bool = False
    ) -> None:
        """Keeps a failure if it came further than those before.

        At the same number of nodes a match that is `whole`, and refused, came further, and so did
        one that ended where a hyperparameter differs from that of another node.
        """
        last = self.furthest
        differs = isinstance(reason, Complaint) and bool(reason.of)
        if (
            last is None
            or (fitted, whole) > (last.fitted, False)
            or (fitted == last.fitted and differs and not last.whole and not last.differs)
        ):
            self.furthest = Failure(self.pattern, fitted, node, reason, whole)


@dataclass(frozen=True, slots=True)
class Bindings:
    """What has been matched so far; never changed, so that backtracking costs nothing.

    `params` has the hyperparameter variables, each with where it was seen first, and `lengths` the
    names of axes in `Rearrange`.
    """

    values: dict[Expr, Value | None] = field(default_factory=dict)
    names: dict[str, Any] = field(default_factory=dict)
    nodes: tuple[Node, ...] = ()
    params: dict[str, tuple[Any, str]] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)

    def bind(self, expr: Expr, value: Value | None, name: str | None, bound: Any) -> Bindings:
        """With an expression bound to a value, and `name` to what the match is to show for it."""
        names = {**self.names, name: bound} if name else self.names
        values = {**self.values, expr: value}
        return Bindings(values, names, self.nodes, self.params, self.lengths)

    def take(self, expr: Expr, role: str | None, nodes: tuple[Node, ...], bound: Any) -> Bindings:
        """With nodes matched, of which the first computes the expression."""
        names = {**self.names, role: bound} if role else self.names
        values = {**self.values, expr: nodes[0].output}
        return Bindings(values, names, (*self.nodes, *nodes), self.params, self.lengths)

    def unified(
        self, op: str, role: str | None, attrs: dict[str, Any], node: Node
    ) -> Bindings | Complaint:
        """With what a node says of the hyperparameter variables among these keywords."""
        params = self.params
        for keyword, expected in attrs.items():
            if not isinstance(expected, Param) or keyword not in node.attrs:
                continue
            found = node.attrs[keyword]
            known, of = params.get(expected.name, (found, role or op))
            if expected.check is not None and not expected.check(found):
                return Complaint(op, role, node, node.output, keyword, found, expected.check)
            if known != found:
                return Complaint(op, role, node, node.output, keyword, found, known, of)
            params = {**params, expected.name: (known, of)}
        if params is self.params:
            return self
        return Bindings(self.values, self.names, self.nodes, params, self.lengths)


@dataclass(frozen=True, slots=True)
class MatchGroup:
    """What `each` found for every input of a node."""

    parts: tuple[Bindings, ...]
