"""Expression objects: how they are printed, compared, bound to operands and searched."""

import math
from typing import Any

import numpy as np
import pytest

from onnx2mvit.ir.expr import (
    Arithmetic,
    KerasExpr,
    LayerName,
    Literal,
    Name,
    Operand,
    call,
    layer,
    source,
)

X, Y = Name("x"), Name("y")


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (call("ops.mean", X, axis=(1, 2), keepdims=None), "ops.mean(x, axis=(1, 2))"),
        (layer("Activation", "relu")(X), "layers.Activation('relu', name='stem')(x)"),
        (call("layers.ZeroPadding2D", 1)(X), "layers.ZeroPadding2D(1)(x)"),
        (call("ops.concatenate", [X, call("f", Y)], axis=1), "ops.concatenate([x, f(y)], axis=1)"),
        (call("ops.take", X, [2, 0]), "ops.take(x, [2, 0])"),
        (call("f", Literal(None), x=Literal(None)), "f(None, x=None)"),
        (call("f", float(np.float32(1e-5)), 0.5), "f(1e-05, 0.5)"),
        (call("f", Literal(1 / 3)), "f(0.3333333333333333)"),
        (call("f", -math.inf, math.nan), "f(float('-inf'), float('nan'))"),
        (call("f", Arithmetic("12 / 7")), "f(12 / 7)"),
        (X[:, 1:3, ::2, :-1], "x[:, 1:3, ::2, :-1]"),
        (X[:, :, 3:, :], "x[:, :, 3:]"),
        (X[0:, 0:None:1, :], "x"),
        (X[1:], "x[1:, ...]"),  # Keras takes no slice by itself
        (X[0], "x[0]"),
        (X[:, -1], "x[:, -1]"),
        (X.along(2, slice(1, 3)), "x[:, :, 1:3]"),
        (X.along(0, 3), "x[3]"),
        (call("f", X)[:1, ..., :1], "f(x)[:1, ..., :1]"),
    ],
)
def test_how_it_is_printed(expr: KerasExpr, expected: str) -> None:
    assert source(expr, "'stem'") == expected


def test_a_name_may_be_any_source_and_so_may_contain_what_looks_like_an_operand() -> None:
    expr = layer("Dense", 3)(call("ops.add", Operand(1), Operand(0)))
    bound = expr.bind([Name("a"), call("ops.transpose", Name("b"), (0, 2, 1))])
    expected = "layers.Dense(3, name={})(ops.add(ops.transpose(b, (0, 2, 1)), a))"
    for name in (repr("$0"), "f'layer.{i}'"):
        assert source(bound, name) == expected.format(name)


def test_operands_are_bound_wherever_they_stand() -> None:
    expr = call("f", [Operand(0)], y=Operand(1)[:, 0])(Operand(10))
    operands = [Name(f"v{number}") for number in range(11)]
    assert str(expr.bind(operands)) == "f([v0], y=v1[:, 0])(v10)"


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (call("f", X, 1), call("f", X, 1), True),
        (call("f", X, math.nan), call("f", X, math.nan), True),
        (X[:, 1:], X[:, 1:, :], True),
        (X[:, 0:3:1], X[:, :3], True),
        (call("f", X, 1), call("f", X, True), False),
        (call("f", X, 1), call("f", X, 1.0), False),
        (call("f", X, 0.0), call("f", X, -0.0), False),
        (call("f", (1, 2)), call("f", (1, 2.0)), False),
        (call("f", "x"), call("f", X), False),
        (call("f", X), call("f", Y), False),
        (call("f", a=X), call("f", b=X), False),
        (call("f", X), layer("f")(X), False),
        (X[:, 1:], X[:, 1:2], False),
    ],
    ids=str,
)
def test_they_are_equal_if_they_are_written_alike(one: Any, other: Any, equal: bool) -> None:
    assert (one == other) == equal
    assert (str(one) == str(other)) == equal


def test_what_is_in_it() -> None:
    expr = call("ops.add", layer("Dense", 3)(Operand(0)), [call("parameter", Operand(1))[0]])
    assert [name.text for name in expr.find(Name)] == ["ops.add", "layers.Dense", "parameter"]
    assert list(expr.find(Operand)) == [Operand(0), Operand(1)]
    assert len(list(expr.find(LayerName))) == 1


@pytest.mark.parametrize(
    ("expr", "named"),
    [
        (layer("Dense", 3)(X), True),
        (call("layers.ZeroPadding2D", 1)(X), False),
        (call("parameter", X, (3,), name=LayerName()), False),  # a function that makes a layer
        (call("ops.add", layer("Dense", 3)(X), Y), False),
    ],
    ids=str,
)
def test_whether_a_named_layer_makes_the_result(expr: KerasExpr, named: bool) -> None:
    assert expr.is_named_layer == named
