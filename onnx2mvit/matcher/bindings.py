"""What a search has bound so far, and how far it came."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from onnx2mvit.ir.graph import Graph, Node, Value
from onnx2mvit.matcher.expression import NOTHING, Expr, Op, Param, Rearrange


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
    """Why a pattern does not hold: which nodes fitted, where it ended and what was different.

    `fitted` is how many of the pattern's own: a sum takes others that are nested in it. `whole` is
    true where all of the nodes fitted, but not their hyperparameters or their readers; `missing`
    where it ended at something else than a node or constant of the pattern.
    """

    pattern: str
    nodes: tuple[Node, ...]
    fitted: int
    node: Node | None
    complaint: str | Complaint
    whole: bool = False
    missing: bool = False

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
    """Remembers the attempts that came furthest; reasons are only put into words when asked for."""

    pattern: str = ""
    failures: list[Failure] = field(default_factory=list)

    @property
    def furthest(self) -> Failure | None:
        """The first of them."""
        return self.failures[0] if self.failures else None

    def note(
        self,
        bound: Bindings,
        node: Node | None,
        reason: str | Complaint,
        whole: bool = False,
        missing: bool = False,
    ) -> None:
        """Keeps a failure if it came as far as those before.

        At the same number of nodes a match that is `whole`, and refused, came further, and so did
        one that ended where a hyperparameter differs from that of another node.
        """
        last, reached = self.furthest, len(bound.nodes)
        differs = isinstance(reason, Complaint) and bool(reason.of)
        missing |= isinstance(reason, Complaint) and reason.keyword is None
        if last is None or (reached, whole) > (len(last.nodes), False):
            self.failures.clear()
        elif reached < len(last.nodes) or last.whole or last.differs:
            return
        elif differs:
            self.failures.clear()
        self.failures.append(
            Failure(self.pattern, bound.nodes, bound.fitted, node, reason, whole, missing)
        )


class Bindings(NamedTuple):
    """What has been matched so far; never changed, so that backtracking costs nothing.

    `names` has what the match is to show by roles and variables, and `params` the hyperparameter
    variables, each with where it was seen first. Of the nodes so many are `nested` in a sum.
    `values` has what stands in the expression again: variables by their names.
    """

    values: Mapping[Expr | str, Value | None] = NOTHING
    names: Mapping[str, Any] = NOTHING
    nodes: tuple[Node, ...] = ()
    params: Mapping[str, tuple[Any, str]] = NOTHING
    nested: int = 0

    @property
    def fitted(self) -> int:
        """How many nodes are those of an expression."""
        return len(self.nodes) - self.nested

    def remember(self, expr: Expr, value: Value | None) -> Bindings:
        """With an expression that is this value wherever it stands again."""
        return self._replace(values={**self.values, expr: value})

    def forget(self, parts: Set[Expr]) -> Bindings:
        """Without what some expressions were."""
        return self._replace(
            values={part: v for part, v in self.values.items() if part not in parts}
        )

    def take(self, role: str | None, nodes: Sequence[Node], shown: Any) -> Bindings:
        """With nodes matched, and shown like that where they have a role."""
        names = {**self.names, role: shown} if role else self.names
        return Bindings(self.values, names, (*self.nodes, *nodes), self.params, self.nested)

    def with_node(self, expr: Op, node: Node | None, value: Value | None) -> Bindings | Complaint:
        """With what a node says of hyperparameter variables, or how it does not fit."""
        if node is None or node.op != expr.op or node.outputs[0] is not value:
            return Complaint(expr.op, expr.role, node, value)
        if not expr.keywords:
            return self
        if (misfit := expr.misfit(node)) is not None:
            return Complaint(expr.op, expr.role, node, value, *misfit)
        params = self.params
        for keyword, param in expr.variables:
            if keyword not in node.attrs:
                continue
            found = node.attrs[keyword]
            known, of = params.get(param.name, (found, expr.role or expr.op))
            if known != found:
                return Complaint(expr.op, expr.role, node, value, keyword, found, known, of)
            params = {**params, param.name: (known, of)}
        return self if params is self.params else self._replace(params=params)

    def with_lengths(self, expr: Rearrange, lengths: dict[str, int]) -> Bindings | str | None:
        """With the variables that are said to be lengths of axes.

        None where a variable has a value that it must not have, a sentence where it has two.
        """
        params = self.params
        for name, param in expr.keywords.items():
            if not isinstance(param, Param):
                continue
            length = lengths[name]
            known, of = params.get(param.name, (length, f"the axis {name}"))
            if param.check is not None and not param.check(length):
                return None
            if known != length:
                axis = f"the {param.name} of its axis {name}"
                return f"{axis} is {length}, not {known} as that of {of}"
            params = {**params, param.name: (known, of)}
        return self._replace(params=params)


@dataclass(frozen=True, slots=True)
class MatchGroup:
    """What `each` found for every input of a node."""

    parts: tuple[Bindings, ...]


class Search(NamedTuple):
    """What is searched; what does not fit is noted in `trace`, if there is one."""

    graph: Graph
    trace: Trace | None = None

    def note(
        self, bound: Bindings, node: Node | None, why: str | Complaint, whole: bool = False
    ) -> None:
        """Notes why it went no further; `whole` as in `Trace.note`."""
        if self.trace is not None:
            self.trace.note(bound, node, why, whole)


Values = tuple[Value | None, ...]
# All ways in which a value is an expression, beside what is bound already.
Step = Callable[[Search, Value | None, Bindings], Iterable[Bindings]]
