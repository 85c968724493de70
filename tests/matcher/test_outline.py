"""Outlines: what is not tried at all, and that nothing is left out that would hold."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onnx2mvit.ir.network import Network
from onnx2mvit.lifter import lift
from onnx2mvit.matcher import (
    Expr,
    Ops,
    Var,
    any_number,
    any_of,
    constant,
    each,
    maybe,
    one_or_more,
    optional,
    p,
    scalar,
)
from onnx2mvit.matcher.find import find
from onnx2mvit.matcher.match import places
from onnx2mvit.matcher.registry import builtin_patterns
from onnx2mvit.reader import read
from tests.support.sought import Form, Sought, last, small


def silu(op: Ops, x: Var) -> Expr:
    return op.Mul(x, op.Sigmoid(x))


def leaky(op: Ops, x: Var) -> Expr:
    return op.Sin(op.LeakyRelu(x, alpha=0.5))


def sharp(op: Ops, x: Var) -> Expr:
    return op.Sin(op.LeakyRelu(x, alpha=p.alpha.where(lambda alpha: alpha > 0.3)))


def scaled(op: Ops, x: Var) -> Expr:
    return op.Mul(x, constant("gamma"))


def doubled(op: Ops, x: Var) -> Expr:
    return op.Mul(x, scalar("two", 2.0))


def clipped(op: Ops, x: Var) -> Expr:
    return op.Clip(op.Sin(x), optional("low"), optional("high"))


def perhaps(op: Ops, x: Var) -> Expr:
    return op.Cos(maybe(op.Sin(op.Tan(x))))


def either(op: Ops, x: Var) -> Expr:
    return op.Cos(any_of(op.Sin(x), op.Tan(x)))


def tokens(op: Ops, x: Var) -> Expr:
    return op.Rearrange("b d h w -> b (h w) d", op.Sin(x))


def joined(op: Ops, x: Var) -> Expr:
    return op.Concat(each(op.Sin(x), role="parts"))


def summed(op: Ops, x: Var) -> Expr:
    return op.Sum(any_number(op.Sin(x), role="sines"), op.Cos(x))


def row(op: Ops, x: Var) -> Expr:
    return op.Cos(one_or_more("Sin", op.Tan(x), role="sines"))


@pytest.mark.parametrize(
    ("form", "nodes", "tried"),
    [
        (silu, "s = Sigmoid(x) y = Mul(s, x)", True),
        (silu, "s = Tanh(x) y = Mul(s, x)", False),
        (leaky, "s = LeakyRelu<alpha=0.5>(x) y = Sin(s)", True),
        (leaky, "s = LeakyRelu<alpha=0.25>(x) y = Sin(s)", False),
        (sharp, "s = LeakyRelu<alpha=0.5>(x) y = Sin(s)", True),
        (sharp, "s = LeakyRelu<alpha=0.25>(x) y = Sin(s)", False),
        (scaled, "y = Mul(gamma, x)", True),
        (scaled, "s = Sin(x) y = Mul(s, x)", False),
        (doubled, "y = Mul(two, x)", True),
        (doubled, "y = Mul(x, m)", False),
        (doubled, "y = Mul(x, gamma)", False),
        (clipped, "s = Sin(x) y = Clip(s, , m)", True),
        (clipped, "s = Sin(x) m2 = ReduceMax<keepdims=0>(x) y = Clip(s, , m2)", False),
        (perhaps, "t = Tan(x) s = Sin(t) y = Cos(s)", True),
        (perhaps, "t = Tan(x) y = Cos(t)", True),
        (perhaps, "y = Cos(x)", False),
        (either, "t = Tan(x) y = Cos(t)", True),
        (either, "t = Abs(x) y = Cos(t)", False),
        (tokens, "s = Sin(x) r = Reshape(s, flat) y = Transpose<perm=[0, 2, 1]>(r)", True),
        (tokens, "s = Cos(x) r = Reshape(s, flat) y = Transpose<perm=[0, 2, 1]>(r)", False),
        (tokens, "s = Sin(x) y = Transpose<perm=[0, 2, 3, 1]>(s)", False),
        (tokens, "s = Sin(x) y = Reshape(s, turned)", False),
        (joined, "a = Sin(x) y = Concat<axis=1>(a, a)", True),
        (joined, "a = Sin(x) y = Concat<axis=1>(a, x)", False),
        (summed, "a = Sin(x) b = Cos(x) c = Add(a, b) d = Sin(x) y = Add(d, c)", True),
        (summed, "k = Cos(x) a = Sin(k) b = Tan(k) c = Add(a, b) y = Add(a, c)", True),  # nested
        (summed, "a = Sin(x) b = Tan(x) y = Add(a, b)", False),
        (row, "t = Tan(x) a = Sin(t) b = Sin(a) c = Sin(b) y = Cos(c)", True),
        (row, "t = Tan(x) y = Cos(t)", False),
    ],
)
def test_only_what_may_be_it_is_tried(tmp_path: Path, form: Form, nodes: str, tried: bool) -> None:
    weights: dict[str, Any] = {"gamma": (6,), "m": 0.5, "two": 2.0}
    weights |= {"flat": [1, 4, 36], "turned": [1, 36, 4]}
    graph = small(tmp_path, nodes, **weights)
    pattern = Sought(form)
    assert (last(graph) in places(pattern, graph)) is tried
    assert tried or find(pattern, graph, last(graph)) is None


@pytest.mark.parametrize(
    "export", ["timm-mobilevitv2_050.dynamo.dynb", "hf-mobilevit_xxs.legacy17.bn.dynb"]
)
def test_every_place_that_holds_is_tried(filled: Callable[[str], Path], export: str) -> None:
    network = Network(read(filled(export)), ())
    held = 0
    for pattern in builtin_patterns():
        graph = network.graph
        holds = {root for root in graph.of(pattern.roots) if find(pattern, graph, root)}
        assert holds <= set(places(pattern, graph))
        held += len(holds)
        network = lift(graph, [pattern])
    assert held > 100


def test_a_node_that_is_gone_by_its_turn_is_left_out(tmp_path: Path) -> None:
    graph = small(tmp_path, "a = Sin(x) b = Sin(a) y = Sin(b)")
    pattern = Sought(lambda op, x: op.Sin(x))
    seen = []
    for node in places(pattern, graph):
        seen.append(node.output.name)
        for maker in map(graph.producer, node.inputs):
            if maker is not None and maker.output.name == "b":
                graph.remove(maker)
    assert seen == ["y", "a"]
    assert [node.output.name for node in places(pattern, graph, forward=True)] == ["a", "y"]
