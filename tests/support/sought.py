"""Patterns from one expression, and small graphs in which they are sought."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from onnx2mvit.ir.graph import Graph, Node
from onnx2mvit.matcher import Expr, Ops, Var
from onnx2mvit.matcher.bindings import Failure, Trace
from onnx2mvit.matcher.find import find
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Pattern
from tests.support import graphs

Form = Callable[[Ops, Var], Expr]


def small(folder: Path, nodes: str, outputs: str = "y", **weights: Any) -> Graph:
    """The graph of these nodes on x[1,4,6,6]."""
    made = ", ".join(f"float {name}" for name in outputs.split())
    return graphs.graph(folder, f"g (float[1,4,6,6] x) => ({made}) {{ {nodes} }}", **weights)


class Sought(Pattern):
    """A pattern from one expression."""

    layer = "Anything"

    def __init__(self, form: Form, kind: str = "Sought") -> None:
        self.form = form
        self.named = kind
        super().__init__()

    @property
    def kind(self) -> str:
        return self.named

    def onnx(self, op: Ops, x: Var) -> Expr:
        return self.form(op, x)

    def params(self, m: Match) -> dict[str, Any]:
        return {}


def last(graph: Graph) -> Node:
    found = graph.producer(graph.outputs[0])
    assert found is not None
    return found


def held(graph: Graph, form: Form) -> Match | None:
    """The match that ends in the graph's first output."""
    found = find(Sought(form), graph, last(graph))
    return found[0] if found else None


def failure(graph: Graph, form: Form) -> Failure:
    """Why nothing matches that ends in the graph's first output."""
    trace = Trace("Sought")
    assert find(Sought(form), graph, last(graph), trace) is None
    assert trace.furthest is not None
    return trace.furthest
