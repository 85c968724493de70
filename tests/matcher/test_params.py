"""Hyperparameter variables: the same name is the same value, and a parameter of the block."""

from pathlib import Path
from typing import Any

import pytest

from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, each, kind_of, maybe, p
from onnx2mvit.matcher.find import find
from tests.support.sought import failure, held, last, small


def twice(op: Ops, x: Var) -> Expr:
    y = op.LeakyRelu(x, role="first", alpha=p.alpha)
    return op.LeakyRelu(y, role="second", alpha=p.alpha)


def nodes(first: float, second: float) -> str:
    return f"a = LeakyRelu<alpha={first}>(x) y = LeakyRelu<alpha={second}>(a)"


def test_one_name_is_one_value(tmp_path: Path) -> None:
    match = held(small(tmp_path, nodes(0.5, 0.5)), twice)
    assert match and match.params == {"alpha": 0.5} and match.alpha == 0.5
    graph = small(tmp_path, nodes(0.25, 0.5))
    assert not held(graph, twice)
    assert failure(graph, twice).reason == "first has alpha 0.25, second has 0.5"


def test_what_a_node_does_not_have_is_not_compared(tmp_path: Path) -> None:
    def form(op: Ops, x: Var) -> Expr:
        return op.LeakyRelu(op.Sin(x, alpha=p.alpha, beta=p.beta), alpha=p.alpha)

    match = held(small(tmp_path, "a = Sin(x) y = LeakyRelu<alpha=0.5>(a)"), form)
    assert match and match.params == {"alpha": 0.5} and match.beta is None
    with pytest.raises(AttributeError, match="has no 'gamma'"):
        _ = match.gamma


def test_a_variable_may_be_restricted(tmp_path: Path) -> None:
    def form(op: Ops, x: Var) -> Expr:
        return op.LeakyRelu(x, alpha=p.alpha.where(lambda alpha: alpha > 0.3))

    assert held(small(tmp_path, "y = LeakyRelu<alpha=0.5>(x)"), form)
    graph = small(tmp_path, "y = LeakyRelu<alpha=0.25>(x)")
    assert not held(graph, form)
    assert failure(graph, form).reason == "LeakyRelu: alpha is 0.25"


def test_another_alternative_is_tried_where_variables_differ(tmp_path: Path) -> None:
    def form(op: Ops, x: Var) -> Expr:
        y = op.LeakyRelu(x, role="first", alpha=p.alpha)
        return op.LeakyRelu(any_of(y, x), role="second", alpha=p.alpha)

    match = held(small(tmp_path, nodes(0.25, 0.5)), form)
    assert match and match.first is None and match.params == {"alpha": 0.5}


@pytest.mark.parametrize(("second", "holds"), [(0.5, True), (0.25, False)])
def test_the_parts_of_each_agree(tmp_path: Path, second: float, holds: bool) -> None:
    def form(op: Ops, x: Var) -> Expr:
        return op.Concat(each(op.LeakyRelu(x, alpha=p.alpha), role="parts"))

    text = f"a = LeakyRelu<alpha=0.5>(x) b = LeakyRelu<alpha={second}>(x) y = Concat<axis=1>(a, b)"
    match = held(small(tmp_path, text), form)
    assert bool(match) is holds
    assert match is None or match.params == {"alpha": 0.5}


class Scaled(Pattern):
    """A pattern whose function takes its parameters in this order."""

    keras = "scaled"

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = op.LeakyRelu(x, alpha=p.alpha)
        return maybe(op.Elu(y, alpha=p._inner))

    def params(self, m: Match) -> dict[str, Any]:
        return {"other": 1, "depth": 2 if m._inner else 1}


def scaled(x: Any, depth: int, alpha: float) -> Any:
    """The function of that pattern."""
    return x * depth * alpha


@pytest.mark.parametrize(("elu", "depth"), [("", 1), (" z = Elu<alpha=2.0>(y)", 2)])
def test_they_become_parameters_in_the_order_of_the_function(
    tmp_path: Path, elu: str, depth: int
) -> None:
    graph = small(tmp_path, "y = LeakyRelu<alpha=0.5>(x)" + elu, "z" if elu else "y")
    found = find(Scaled(), graph, last(graph))
    assert found and list(found[1].items()) == [("depth", depth), ("alpha", 0.5), ("other", 1)]


def test_several_variables_are_called_like_their_keywords() -> None:
    assert p("alpha", "beta") == {"alpha": p.alpha, "beta": p.beta}


def test_a_kind_is_a_name_for_hyperparameters(tmp_path: Path) -> None:
    half = kind_of("LeakyRelu", alpha=0.5)

    def form(op: Ops, x: Var) -> Expr:
        return half(half(x, role="first"), alpha=0.25)

    match = held(small(tmp_path, nodes(0.5, 0.25)), form)
    assert match and match.first.output.name == "a"
    graph = small(tmp_path, nodes(0.25, 0.25))
    assert failure(graph, form).reason == "first (LeakyRelu): alpha is 0.25, not 0.5"
