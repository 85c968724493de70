"""Shapes are inferred while constants are folded, once for all nodes that are alike."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnx2mvit.reader.rules import unify
from onnx2mvit.reader.rules.apply import apply_once
from onnx2mvit.reader.rules.shape import MergeMoves
from tests.support.graphs import graph

REPEATS = 12
Shape = tuple[int, ...]


def layers(count: int) -> str:
    """Convolutions and Reshapes one after the other, each by a constant of its own."""
    lines = ["v0 = Identity(x)"]
    for n in range(count):
        lines += [
            f"c{n} = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(v{n}, w)",
            f"s{n} = Constant<value = int64[3] {{1, 4, 36}}>()",
            f"r{n} = Reshape(c{n}, s{n})",
            f"i{n} = Constant<value = int64[4] {{1, 4, 6, 6}}>()",
            f"v{n + 1} = Reshape(r{n}, i{n})",
        ]
    return " ".join(lines)


def test_onnx_is_asked_once_for_nodes_that_are_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, infer = [], onnx.shape_inference.infer_node_outputs

    def counted(schema, node, *args, **kwargs):  # type: ignore[no-untyped-def]
        asked.append(node.op_type)
        return infer(schema, node, *args, **kwargs)

    monkeypatch.setattr(onnx.shape_inference, "infer_node_outputs", counted)
    nodes = layers(REPEATS)
    body = f"g (float[1,4,6,6] x) => (float[1,4,6,6] y) {{ {nodes} y = Relu(v{REPEATS}) }}"
    read = graph(tmp_path, body, w=(4, 4, 3, 3))
    assert all(node.output.shape == (1, 4, 6, 6) for node in read.of(["Conv"]))
    assert asked.count("Conv") == 1
    assert asked.count("Reshape") == 2


@pytest.mark.parametrize(
    ("nodes", "shapes"),
    [
        (
            "a = MaxPool<kernel_shape=[2,2]>(x) y = MaxPool<kernel_shape=[3,3]>(x)",
            [(1, 4, 5, 5), (1, 4, 4, 4)],
        ),
        ("a = Concat<axis=2>(x, x) y = Concat<axis=2>(a, x)", [(1, 4, 12, 6), (1, 4, 18, 6)]),
        ("a = Expand(x, to_six) y = Expand(x, to_two)", [(1, 4, 6, 6), (2, 4, 6, 6)]),
        ("a = Pad(x, one) y = Pad(x, two)", [(1, 4, 8, 8), (1, 4, 10, 10)]),
    ],
)
def test_nodes_that_differ_are_told_apart(tmp_path: Path, nodes: str, shapes: list[Shape]) -> None:
    """By an attribute, by the shape of an operand, by the numbers of a constant."""
    weights = {"to_six": [1, 4, 6, 6], "to_two": [2, 1, 1, 1]}
    weights |= {name: [0, 0, n, n] * 2 for n, name in enumerate(("one", "two"), 1)}
    used: dict[str, Any] = {
        name: np.array(given) for name, given in weights.items() if name in nodes
    }
    body = f"g (float[1,4,6,6] x) => (float a, float y) {{ {nodes} }}"
    read = graph(tmp_path, body, **used)
    assert [value.shape for value in read.outputs] == shapes


def test_a_rule_is_not_tried_again_where_nothing_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first has nothing to do, the second has, once: then neither is left to be tried."""
    read = graph(tmp_path, "g (float[1,4,6,6] x) => (float y) { y = Relu(x) }")
    tried: list[str] = []
    left = {"second": 1}

    class Named(MergeMoves):
        def __init__(self, called: str) -> None:
            super().__init__()
            self.called = called

    def counted(rule, graph):  # type: ignore[no-untyped-def]
        tried.append(rule.called)
        apply_once(rule, graph)
        return left.pop(rule.called, 0)

    monkeypatch.setitem(unify.__globals__, "apply_once", counted)
    unify(read, [Named(name) for name in ("first", "second", "third")])
    assert tried == ["first", "second", "third", "first", "second"]


def test_a_branch_may_give_a_constant_from_outside_of_it(tmp_path: Path) -> None:
    """As torch writes it where a position embedding is resized only if it must be (SAM 2)."""
    body = """g (float[2,4,6,6] x) => (float[2,4,36] y) {
        s = Shape(x)  front = Slice(s, zero, two)
        start = If(outside) <
            then_branch = t () => (int64[2] p) { p = Identity(front) },
            else_branch = e () => (int64[2] q) { q = Mul(front, two) }>
        shape = Concat<axis=0>(start, rest)  y = Reshape(x, shape)
    }"""
    outside: dict[str, Any] = {"outside": np.array(True), "zero": [0], "two": [2], "rest": [36]}
    (node,) = graph(tmp_path, body, **outside)
    assert node.op == "Reshape" and node.output.shape == (2, 4, 36)
