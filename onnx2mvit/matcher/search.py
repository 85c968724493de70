"""The backtracking search for an expression, backwards from a value.

An expression is made into functions once, each of which finds one part of it and calls those of
the parts in it: what is asked of every node of a graph is not worked out at every node. Parts are a
handful and every step looks at one node, so an attempt costs a bounded time and a whole rewrite is
linear in the number of nodes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from typing import ClassVar

from onnx2mvit.ir.graph import Node, Value
from onnx2mvit.matcher.bindings import Bindings, Complaint, MatchGroup, Search, Step, Values
from onnx2mvit.matcher.expression import (
    COMMUTATIVE,
    AnyOf,
    Chain,
    Commutative,
    Expr,
    ForEach,
    Op,
    Operand,
    Rearrange,
    Var,
)
from onnx2mvit.matcher.rearrange import LONGEST, MOVES
from onnx2mvit.matcher.sums import sums

# All ways in which some values are parts, one after the other, beside what is bound already; and
# the one way in which they may be variables.
Steps = Callable[[Search, Values, Bindings], Iterable[Bindings]]
Bind = Callable[[Search, Values, Bindings], Bindings | None]


def compiled(whole: Expr) -> Step:
    """The search for an expression, as a function."""
    return _Compiler(whole).step(whole)


class _Compiler:
    """Makes the steps of one expression; what stands in it once need not be remembered."""

    def __init__(self, whole: Expr) -> None:
        self.remembered = _repeated(whole)
        self.made: dict[int, Step] = {}

    def step(self, expr: Expr) -> Step:
        """The search for a part of the expression."""
        if id(expr) not in self.made:
            step = self._STEPS[type(expr)](self, expr)
            if expr in self.remembered and not isinstance(expr, Var):
                step = _the_same(expr, step)
            self.made[id(expr)] = step
        return self.made[id(expr)]

    def _variable(self, expr: Var) -> Step:
        operand = self._operands((expr,))
        return lambda search, value, bound: operand(search, (value,), bound)

    def _any_of(self, expr: AnyOf) -> Step:
        """Of the alternatives, those that may end in a value's node; with a trace each says why."""
        every = tuple(map(self.step, expr.parts))
        ends = [(step, part.ends) for step, part in zip(every, expr.parts, strict=True)]
        by_op: dict[str | None, tuple[Step, ...]] = {
            op: tuple(step for step, ops in ends if ops is None or op in ops)
            for op in (None, *expr.roots)
        }

        def step(search: Search, value: Value | None, bound: Bindings) -> Iterable[Bindings]:
            tried = every
            if search.trace is None:
                node = search.graph.producer(value)
                op = None if node is None else node.op
                tried = by_op[op] if op in by_op else by_op[None]
            if len(tried) == 1:
                return tried[0](search, value, bound)
            return (found for each in tried for found in each(search, value, bound))

        return step

    def _operator(self, expr: Op) -> Step:
        op, role = expr.op, expr.role
        operands, count = self._operands(expr.parts), len(expr.parts)
        any_number = count == 1 and isinstance(expr.parts[0], ForEach)
        turns = op in COMMUTATIVE and count == 2

        def step(search: Search, value: Value | None, bound: Bindings) -> Iterable[Bindings]:
            node = search.graph.producer(value)
            if node is None or node.op != op:
                if search.trace is not None:
                    search.trace.note(bound, node, Complaint(op, role, node, value))
                return ()  # most end here
            fitting = bound.with_node(expr, node, value)
            if isinstance(fitting, Complaint):
                search.note(bound, node, fitting)
                return ()
            taken, inputs = fitting.take(role, (node,), node), node.inputs
            if not any_number and len(inputs) != count:
                if len(inputs) > count:
                    search.note(bound, node, f"{node!r} has {len(inputs)} inputs")
                    return ()
                inputs += (None,) * (count - len(inputs))
            if turns and inputs[0] is not inputs[1]:
                return _in_any_order(operands, search, inputs, taken)
            return operands(search, inputs, taken)

        return step

    def _operands(self, parts: tuple[Expr, ...]) -> Steps:
        if len(parts) == 1 and isinstance(parts[0], ForEach):
            return self._each(parts[0])
        leading = takewhile(lambda part: isinstance(part, Var), parts)
        variables = [part for part in leading if isinstance(part, Var)]
        bind, place = _bind(variables, self.remembered), len(variables)
        if place == len(parts):

            def in_one_way(search: Search, values: Values, bound: Bindings) -> Iterable[Bindings]:
                fitting = bind(search, values, bound)
                return () if fitting is None else (fitting,)

            return in_one_way
        step = self.step(parts[place])
        further = self._operands(parts[place + 1 :]) if parts[place + 1 :] else None

        def in_order(search: Search, values: Values, bound: Bindings) -> Iterable[Bindings]:
            fitting = bind(search, values, bound) if place else bound
            if fitting is None:
                return ()
            found = step(search, values[place], fitting)
            if further is None:
                return found
            rest = values[place + 1 :]
            return (every for first in found for every in further(search, rest, first))

        return in_order

    def _each(self, expr: ForEach) -> Steps:
        step = self.step(expr.parts[0])

        def each(search: Search, values: Values, bound: Bindings) -> Iterable[Bindings]:
            parts: list[Bindings] = []
            nodes = bound.nodes
            for value in values:
                # `nodes` goes along so that a trace knows how many fitted before.
                empty = Bindings(nodes=nodes, params=bound.params)
                part = next(iter(step(search, value, empty)), None)
                if part is None:
                    return ()
                parts.append(part._replace(nodes=part.nodes[len(nodes) :]))
                nodes, bound = part.nodes, bound._replace(params=part.params)
            names = {**bound.names, expr.role: MatchGroup(tuple(parts))}
            return (bound._replace(names=names, nodes=nodes),)

        return each

    def _chain(self, expr: Chain) -> Step:
        base = self.step(expr.parts[0])

        def step(search: Search, value: Value | None, bound: Bindings) -> Iterable[Bindings]:
            links: list[Node] = []
            fitting: Bindings | Complaint = bound
            node: Node | None = None
            while value is not None:
                node = search.graph.producer(value)
                fitting = bound.with_node(expr, node, value)
                if node is None or isinstance(fitting, Complaint):
                    break
                bound, value = fitting, node.inputs[0]
                links.append(node)
            if not links:
                why = fitting if isinstance(fitting, Complaint) else "there is no node"
                search.note(bound, node, why)
                return ()
            taken = bound.take(expr.role, tuple(links), tuple(reversed(links)))
            if isinstance(fitting, Complaint) and fitting.of:
                search.note(taken, node, fitting)  # it is no link for that alone
            return base(search, links[-1].inputs[0], taken)

        return step

    def _rearrange(self, expr: Rearrange) -> Step:
        """The shortest chain first: what is beyond it may belong to a neighbour."""
        notation, known, step = expr.notation, expr.known, self.step(expr.parts[0])

        def chains(search: Search, value: Value | None, bound: Bindings) -> Iterator[Bindings]:
            chain: list[Node] = []
            node: Node | None = None
            misfit: str | None = None
            base = value
            while base is not None and len(chain) < LONGEST:
                node = search.graph.producer(base)
                if node is None or node.op not in MOVES or node.output is not base:
                    break
                chain.append(node)
                base = node.inputs[0]
                for lengths in notation.solutions(chain[::-1], known):
                    fitting = bound.with_lengths(expr, lengths)
                    if isinstance(fitting, Bindings):
                        yield from step(search, base, fitting.take(expr.role, chain, chain[0]))
                    else:
                        misfit = fitting or misfit
            if search.trace is None:
                return
            if not chain or not (bound.nodes or any(notation.fits(chain[0], n) for n in chain)):
                search.note(bound, node, Complaint("Rearrange", expr.role, node, value))
            else:
                otherwise = f"its axes are not moved as in {notation.text!r}"
                search.note(bound, chain[0], misfit or otherwise)

        return chains

    def _commutative(self, expr: Commutative) -> Step:
        return sums(expr, self.step)

    _STEPS: ClassVar[dict[type[Expr], Callable[..., Step]]] = {
        Var: _variable,
        AnyOf: _any_of,
        Chain: _chain,
        Op: _operator,
        Rearrange: _rearrange,
        Commutative: _commutative,
    }


def _repeated(whole: Expr) -> frozenset[Expr]:
    """What stands in an expression more than once, and so must be the same value again.

    A variable in an operand of any number is there as often as there are such operands.
    """
    parts = list(whole.walk())
    counts = Counter(inner for part in parts for inner in part.parts)
    for part in parts:
        if isinstance(part, Operand) and part.most != 1:
            counts.update(inner for inner in part.walk() if isinstance(inner, Var))
            counts.update(inner for inner in part.walk() if isinstance(inner, Var))
    return frozenset(part for part, count in counts.items() if count > 1)


def _the_same(expr: Expr, step: Step) -> Step:
    def again(search: Search, value: Value | None, bound: Bindings) -> Iterable[Bindings]:
        if expr in bound.values:
            return (bound,) if bound.values[expr] is value else ()
        return (found.remember(expr, value) for found in step(search, value, bound))

    return again


def _in_any_order(
    operands: Steps, search: Search, inputs: Values, bound: Bindings
) -> Iterator[Bindings]:
    yield from operands(search, inputs, bound)
    yield from operands(search, inputs[::-1], bound)


def _bind(variables: Iterable[Var], remembered: frozenset[Expr]) -> Bind:
    """Binds the first of some values to variables, if they are what is said of these."""
    plan = [(each.role, each.check, each.optional, each in remembered) for each in variables]
    remembers = any(repeated for *_, repeated in plan)

    def bind(search: Search, given: Values, bound: Bindings) -> Bindings | None:
        names = dict(bound.names)
        values = dict(bound.values) if remembers else {}
        for (role, check, optional, repeated), value in zip(plan, given, strict=False):
            complaint = None
            if repeated and role in values:
                complaint = None if values[role] is value else "is another value than before"
            elif value is None:
                complaint = None if optional else "is absent"
            elif check is not None:
                complaint = check(value)
            if complaint is not None:
                if search.trace is not None:
                    missing = value is None or value.const is None
                    node, why = search.graph.producer(value), f"{role} {complaint}"
                    search.trace.note(bound, node, why, missing=missing)
                return None
            names[role] = value
            if repeated:
                values[role] = value
        _, _, nodes, params, nested = bound
        return Bindings(values if remembers else bound.values, names, nodes, params, nested)

    return bind
