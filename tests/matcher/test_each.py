"""`each`: all inputs of a node, however many there are."""

from pathlib import Path

import pytest

from onnx2mvit.matcher import Expr, Ops, Var, each, scalar
from tests.support.sought import failure, held, small


def form(op: Ops, x: Var) -> Expr:
    return op.Neg(op.Concat(each(op.Sin(op.Mul(x, scalar("factor")), role="sin"), role="parts")))


PARTS = "a = Mul(x, p) b = Mul(q, x) c = Mul(z, p) s = Sin(a) t = Sin(b) u = Sin(c)"


@pytest.mark.parametrize("inputs", ["s, t", "t, s, t", "s, t, u"])
def test_each_input_is_matched_for_itself(tmp_path: Path, inputs: str) -> None:
    nodes = f"z = Tan(x) {PARTS} j = Concat<axis=1>({inputs}) y = Neg(j)"
    match = held(small(tmp_path, nodes, p=1.5, q=2.5), form)
    assert match
    names = inputs.split(", ")
    assert [part.sin.output.name for part in match.parts] == names
    numbers = {"s": 1.5, "t": 2.5, "u": 1.5}
    assert [float(part.factor.const) for part in match.parts] == [numbers[name] for name in names]
    assert [part.x.name for part in match.parts] == ["z" if name == "u" else "x" for name in names]
    assert [part.root.op for part in match.parts] == ["Sin"] * len(names)
    assert len(match.nodes) == 2 + 2 * len(set(names))


def test_one_input_that_differs_is_enough(tmp_path: Path) -> None:
    nodes = "a = Mul(x, p) s = Sin(a) t = Cos(a) j = Concat<axis=1>(s, t) y = Neg(j)"
    graph = small(tmp_path, nodes, p=1.5)
    assert not held(graph, form)
    assert failure(graph, form).reason == "sin (Sin) expected, found <Cos>"


def test_what_others_read_in_one_of_them_is_a_leak(tmp_path: Path) -> None:
    nodes = "a = Mul(x, p) s = Sin(a) t = Sin(a) j = Concat<axis=1>(s, t) y = Neg(j) w = Cos(t)"
    graph = small(tmp_path, nodes, "y w", p=1.5)
    assert not held(graph, form)
    assert "used outside" in failure(graph, form).reason


def test_a_variable_alone_takes_anything(tmp_path: Path) -> None:
    graph = small(tmp_path, "s = Sin(x) y = Concat<axis=1>(s, x, s)")
    match = held(graph, lambda op, x: op.Concat(each(x, role="parts")))
    assert match and [part.x.name for part in match.parts] == ["s", "x", "s"]
