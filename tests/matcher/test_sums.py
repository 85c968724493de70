"""Sums and products of any number of operands, in any order and however they are nested."""

from pathlib import Path

import pytest

from onnx2mvit.ir.graph import Node, Value
from onnx2mvit.matcher import Expr, Ops, Var, any_number, at_most_one, p
from tests.support.sought import failure, held, small


def branches(op: Ops, x: Var) -> Expr:
    """Any number of pools of the input, its sine if there, and the input itself."""
    pool = op.LeakyRelu(x, role=None, alpha=p.alpha)
    return op.Sum(any_number(pool, role="branch", least=2), at_most_one(op.Sin(x, role="skip")), x)


A = "a = LeakyRelu<alpha=0.5>(x) b = LeakyRelu<alpha=0.5>(x) c = LeakyRelu<alpha=0.5>(x)"


@pytest.mark.parametrize(
    "nodes",
    [
        "s = Add(a, b) y = Add(s, x)",
        "s = Add(x, a) y = Add(b, s)",
        "s = Add(b, x) t = Add(c, s) y = Add(t, a)",
        "s = Add(a, b) t = Add(x, c) y = Add(s, t)",
        "y = Sum(a, x, b)",
        "s = Sum(x, c) y = Sum(a, s, b)",
    ],
)
@pytest.mark.parametrize("skip", [False, True])
def test_any_order_and_nesting(tmp_path: Path, nodes: str, skip: bool) -> None:
    if skip:
        nodes = nodes.replace("y =", "z =") + " k = Sin(x) y = Add(k, z)"
    match = held(small(tmp_path, f"{A} {nodes}"), branches)
    assert match
    names = [node.output.name for node in match.branch]
    assert names == [name for name in "abc" if f"{name}," in nodes or f"{name})" in nodes]
    assert (match.skip is not None) is skip
    assert match.params == pytest.approx({"alpha": 0.5})
    assert len(match.nodes) == len(set(match.nodes))


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ("s = Add(a, b) y = Add(s, z)", "LeakyRelu expected, found <Cos>"),
        ("y = Add(a, x)", "its sum has 1 × branch, not 2"),
        ("y = Add(a, b)", "its sum has 0 × x, not 1"),
        ("s = Add(a, b) t = Add(s, x) y = Add(t, o)", "alpha has"),
        ("s = Add(a, b) t = Add(s, x) y = Sub(t, b)", "Add expected, found <Sub>"),
        ("s = Add(a, b) t = Add(s, x) k = Sin(x) l = Sin(x) u = Add(k, t) y = Add(u, l)", ""),
        ("s = Add(a, b) t = Add(s, x) y = Add(t, x)", ""),
        ("s = Add(a, x) y = Add(s, a)", ""),
    ],
    ids=["other", "one", "without x", "alpha", "difference", "two sines", "x twice", "one twice"],
)
def test_no_such_sum_by_one_detail(tmp_path: Path, nodes: str, reason: str) -> None:
    given = f"z = Cos(x) o = LeakyRelu<alpha=0.25>(x) {A} {nodes}"
    graph = small(tmp_path, given)
    assert not held(graph, branches)
    if reason == "alpha has":
        reason = "LeakyRelu has alpha"
    assert failure(graph, branches).reason.startswith(reason)


def test_an_operand_may_itself_be_a_sum(tmp_path: Path) -> None:
    """The input of a block is mostly the sum of the one before."""
    nodes = f"i = Cos(x) j = Add(i, x) {A.replace('(x)', '(j)')} s = Add(a, j) y = Add(s, b)"
    match = held(small(tmp_path, nodes), branches)
    assert match and match.x.name == "j"
    assert "j" not in [node.output.name for node in match.nodes]


def test_what_is_read_of_a_part_of_the_sum_is_a_leak(tmp_path: Path) -> None:
    graph = small(tmp_path, f"{A} s = Add(a, b) y = Add(s, x) w = Cos(s)", "y w")
    assert not held(graph, branches)
    assert "used outside of it" in failure(graph, branches).reason


def test_a_product_is_of_products(tmp_path: Path) -> None:
    def form(op: Ops, x: Var) -> Expr:
        return op.Product(x, op.Sin(x), op.Cos(x))

    nodes = "a = Sin(x) b = Cos(x) m = Mul(b, x)"
    assert held(small(tmp_path, f"{nodes} y = Mul(m, a)"), form)
    assert not held(small(tmp_path, f"{nodes} y = Add(m, a)"), form)


def test_parts_of_an_operand_are_its_own_and_shared_ones_are_shared(tmp_path: Path) -> None:
    def form(op: Ops, x: Var) -> Expr:
        shared = op.Sin(x)
        return op.Sum(any_number(op.Tan(op.Cos(shared)), role="branch"), op.Exp(shared))

    def nodes(second: str) -> str:
        return (
            "s = Sin(x) t = Sin(x) a = Cos(s) b = Tan(a) e = Exp(s) "
            f"c = Cos({second}) d = Tan(c) u = Add(b, e) y = Add(d, u)"
        )

    match = held(small(tmp_path, nodes("s")), form)
    assert match and len(match.branch) == 2
    assert not held(small(tmp_path, nodes("t")), form)


def test_a_value_that_is_added_to_itself_is_followed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixty doublings are two to the sixty ways to nest the same sums."""
    nodes = " ".join(f"v{n} = Add(v{n - 1}, v{n - 1})" for n in range(1, 60))
    graph = small(tmp_path, f"v0 = Add(x, x) {nodes} y = Add(v59, v59)")
    asked, producer = [], graph.producer

    def counted(value: Value | None) -> Node | None:
        asked.append(value)
        return producer(value)

    monkeypatch.setattr(graph, "producer", counted)
    assert not held(graph, branches)
    assert 60 < len(asked) < 10 * 60, len(asked)


@pytest.mark.parametrize(("read", "holds"), [("x", True), ("z", False)])
def test_a_variable_of_operands_of_any_number_is_one_value(
    tmp_path: Path, read: str, holds: bool
) -> None:
    graph = small(tmp_path, f"z = Cos(x) a = Sin(x) b = Sin({read}) y = Add(a, b)")
    match = held(graph, lambda op, x: op.Sum(any_number(op.Sin(x), role="sines")))
    assert (match is not None) is holds
