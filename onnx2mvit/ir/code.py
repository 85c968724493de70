"""What a single operator becomes in Keras."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnx2mvit.ir.expr import KerasExpr, Operand
from onnx2mvit.ir.graph import Value
from onnx2mvit.ir.layout import Layout, Order

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Result:
    """One output of an operator that has several.

    `expr` is made of the tensors that the operator's call gives, as operands.
    """

    value: Value
    name: str
    expr: KerasExpr
    layout: Layout


@dataclass(frozen=True)
class KerasCode:
    """What a single operator becomes: an expression of `inputs`, and the layout of its result.

    Every input is wanted in an order of its axes. Where an operator has several outputs that are
    used, its expression gives a tuple, `parts` are names for what is in it, and `results` the
    outputs; the layout is that of the first output then, whether it is used or not. `counted` are
    places in an image that the file counts from a border, negative ones from the end; `places` is
    how many of them the traced image has, where a number in it holds for so many.
    """

    expr: KerasExpr
    inputs: tuple[tuple[Value, Order], ...]
    layout: Layout
    weights: dict[str, Array] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    results: tuple[Result, ...] = ()
    counted: tuple[int, ...] = ()
    places: int | None = None

    @property
    def is_layer(self) -> bool:
        """True if the result comes out of a layer that has a name."""
        return self.expr.is_named_layer and not self.results

    @property
    def is_nothing(self) -> bool:
        """True if Keras has no operation for it: the same tensor, its axes in another order."""
        return isinstance(self.expr, Operand) and not self.results
