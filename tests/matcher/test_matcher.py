"""What DESIGN.md promises of the matcher: the language of patterns."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx2mvit.matcher import (
    Expr,
    Ops,
    Var,
    any_of,
    constant,
    maybe,
    one_or_more,
    optional,
    scalar,
)
from tests.support.sought import failure, held, small


def silu(op: Ops, x: Var) -> Expr:
    return op.Mul(x, op.Sigmoid(x))


@pytest.mark.parametrize("operands", ["x, s", "s, x"])
def test_commutative_operands_match_in_both_orders(tmp_path: Path, operands: str) -> None:
    assert held(small(tmp_path, f"s = Sigmoid(x) y = Mul({operands})"), silu)


def test_operands_of_other_operators_keep_their_order(tmp_path: Path) -> None:
    def form(op: Ops, x: Var) -> Expr:
        return op.Sub(x, op.Sigmoid(x))

    assert held(small(tmp_path, "s = Sigmoid(x) y = Sub(x, s)"), form)
    assert not held(small(tmp_path, "s = Sigmoid(x) y = Sub(s, x)"), form)


def test_a_variable_used_twice_is_one_value(tmp_path: Path) -> None:
    graph = small(tmp_path, "z = Sin(x) s = Sigmoid(z) y = Mul(x, s)")
    assert not held(graph, silu)
    assert str(failure(graph, silu)) == "Sought: x is another value than before"


def test_variables_of_one_name_are_one_variable(tmp_path: Path) -> None:
    def form(op: Ops, x: Var) -> Expr:
        return op.Add(op.Mul(x, constant("c")), constant("c"))

    assert held(small(tmp_path, "m = Mul(x, a) y = Add(m, a)", a=(6,)), form)
    assert not held(small(tmp_path, "m = Mul(x, a) y = Add(m, b)", a=(6,), b=(6,)), form)


def test_an_operator_used_twice_is_one_node(tmp_path: Path) -> None:
    def form(op: Ops, x: Var) -> Expr:
        s = op.Sin(x)
        return op.Sub(s, op.Cos(s))

    assert held(small(tmp_path, "s = Sin(x) c = Cos(s) y = Sub(s, c)"), form)
    assert not held(small(tmp_path, "s = Sin(x) t = Sin(x) c = Cos(t) y = Sub(s, c)"), form)


def test_an_alternative_used_twice_is_taken_twice(tmp_path: Path) -> None:
    def form(op: Ops, x: Var) -> Expr:
        s = maybe(op.Sin(x))
        return op.Sub(s, op.Cos(s))

    assert held(small(tmp_path, "s = Sin(x) c = Cos(s) y = Sub(s, c)"), form)
    assert held(small(tmp_path, "c = Cos(x) y = Sub(x, c)"), form)
    assert not held(small(tmp_path, "s = Sin(x) c = Cos(x) y = Sub(s, c)"), form)


def test_a_chain_used_twice_is_one_chain(tmp_path: Path) -> None:
    def form(op: Ops, x: Var) -> Expr:
        s = one_or_more("Sin", x, role="s")
        return op.Sub(s, op.Cos(s))

    assert held(small(tmp_path, "s = Sin(x) t = Sin(s) c = Cos(t) y = Sub(t, c)"), form)
    assert not held(small(tmp_path, "s = Sin(x) t = Sin(s) c = Cos(s) y = Sub(t, c)"), form)


def test_an_optional_operand_used_twice_is_there_twice_or_never(tmp_path: Path) -> None:
    def form(op: Ops, x: Var) -> Expr:
        bias = optional("bias")
        inner = op.Conv(x, constant("a"), bias)
        return op.Conv(inner, constant("b"), bias)

    weights: dict[str, Any] = {"a": (4, 4, 1, 1), "b": (4, 4, 1, 1), "c": (4,)}
    assert held(small(tmp_path, "m = Conv(x, a, c) y = Conv(m, b, c)", **weights), form)
    assert held(small(tmp_path, "m = Conv(x, a) y = Conv(m, b)", **weights), form)
    assert not held(small(tmp_path, "m = Conv(x, a) y = Conv(m, b, c)", **weights), form)
    assert not held(small(tmp_path, "m = Conv(x, a, c) y = Conv(m, b)", **weights), form)


def test_two_variables_may_be_one_value(tmp_path: Path) -> None:
    def form(op: Ops, x: Var) -> Expr:
        query = op.Add(op.Mul(x, constant("query")), constant("query_bias"))
        return op.Sub(query, op.Add(op.Tanh(x), constant("value_bias")))

    match = held(
        small(
            tmp_path,
            "m = Mul(x, w) q = Add(m, b) t = Tanh(x) v = Add(t, b) y = Sub(q, v)",
            w=(6,),
            b=(6,),
        ),
        form,
    )
    assert match and match.query_bias is match.value_bias is not match.query


def test_a_node_that_two_expressions_share_is_counted_once(tmp_path: Path) -> None:
    def form(op: Ops, x: Var) -> Expr:
        return op.Sub(op.Sin(x, role="query"), op.Sin(x, role="key"))

    match = held(small(tmp_path, "s = Sin(x) y = Sub(s, s)"), form)
    assert match and len(match.nodes) == 2 and match.query is match.key


@pytest.mark.parametrize(("nodes", "there"), [("s = Sin(x)", True), ("s = Tan(x)", False)])
def test_maybe_is_there_or_not(tmp_path: Path, nodes: str, there: bool) -> None:
    match = held(
        small(tmp_path, f"{nodes} y = Cos(s)"), lambda op, x: op.Cos(maybe(op.Sin(x, role="sin")))
    )
    assert match and (match.sin is not None) is there
    assert match.x.name == ("x" if there else "s")


@pytest.mark.parametrize(("op", "holds"), [("Sin", True), ("Cos", True), ("Tan", False)])
def test_any_of_is_one_of_these(tmp_path: Path, op: str, holds: bool) -> None:
    match = held(small(tmp_path, f"y = {op}(x)"), lambda op, x: any_of(op.Sin(x), op.Cos(x)))
    assert (match is not None) is holds


def sines(op: Ops, x: Var) -> Expr:
    return op.Cos(one_or_more("Sin", x, role="links"))


@pytest.mark.parametrize("length", [1, 2, 5])
def test_one_or_more_takes_all_links_nearest_the_input_first(tmp_path: Path, length: int) -> None:
    chain = " ".join(f"s{i + 1} = Sin(s{i})" for i in range(length))
    match = held(small(tmp_path, f"s0 = Tan(x) {chain} y = Cos(s{length})"), sines)
    assert match and match.x.name == "s0"
    assert [link.output.name for link in match.links] == [f"s{i + 1}" for i in range(length)]


def test_one_or_more_is_not_none(tmp_path: Path) -> None:
    found = failure(small(tmp_path, "t = Tan(x) y = Cos(t)"), sines)
    assert found.reason == "links (Sin) expected, found <Tan>"
    assert not held(small(tmp_path, "y = Cos(x)"), sines)


def test_a_chain_with_a_link_used_elsewhere_is_none(tmp_path: Path) -> None:
    nodes = "a = Sin(x) b = Sin(a) c = Sin(b) y = Cos(c)"
    assert held(small(tmp_path, nodes), sines)
    assert not held(small(tmp_path, f"{nodes} z = Tan(b)", "y z"), sines)
    assert not held(small(tmp_path, nodes, "y b"), sines)


@pytest.mark.parametrize(("bias", "there"), [(", b", True), ("", False)])
def test_an_optional_operand_is_there_or_not(tmp_path: Path, bias: str, there: bool) -> None:
    def form(op: Ops, x: Var) -> Expr:
        return op.Conv(x, constant("kernel", rank=4), optional("bias", rank=1))

    match = held(small(tmp_path, f"y = Conv(x, w{bias})", w=(4, 4, 1, 1), b=(4,)), form)
    assert match and (match.bias is not None) is there


def test_an_operand_that_is_not_expected_is_refused(tmp_path: Path) -> None:
    graph = small(tmp_path, "y = Conv(x, w, b)", w=(4, 4, 1, 1), b=(4,))
    found = failure(graph, lambda op, x: op.Conv(x, constant("kernel")))
    assert "has 3 inputs" in found.reason


@pytest.mark.parametrize(
    ("perm", "holds"),
    [
        ((0, 1, 3, 2), True),
        (lambda perm: perm[0] == 0, True),
        ((0, 1), False),
        (lambda perm: perm[0] == 1, False),
    ],
)
def test_attributes_are_equal_or_satisfy_a_predicate(
    tmp_path: Path, perm: Any, holds: bool
) -> None:
    match = held(
        small(tmp_path, "y = Transpose<perm=[0,1,3,2]>(x)"),
        lambda op, x: op.Transpose(x, perm=perm),
    )
    assert (match is not None) is holds


@pytest.mark.parametrize(
    ("number", "holds"),
    [
        (0.25, True),
        (0.25 * (1 + 9e-6), True),
        (0.25 * (1 + 2e-5), False),
        (-0.25, False),
        (float("inf"), False),
        ([0.25, 0.25, 0.25] * 2, False),
    ],
)
def test_a_scalar_is_equal_within_its_tolerance(tmp_path: Path, number: Any, holds: bool) -> None:
    graph = small(tmp_path, "y = Mul(x, c)", c=np.asarray(number))
    assert (held(graph, lambda op, x: op.Mul(x, scalar("c", 0.25))) is not None) is holds


def test_a_constant_is_not_a_value_that_is_computed(tmp_path: Path) -> None:
    found = failure(
        small(tmp_path, "s = Sin(x) y = MatMul(x, s)"), lambda op, x: op.MatMul(x, constant("w"))
    )
    assert found.reason == "w is not a constant"
