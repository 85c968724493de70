"""What a single operator becomes in Keras."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnx2mvit.ir.expr import KerasExpr
from onnx2mvit.ir.graph import Value
from onnx2mvit.ir.layout import Order

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class KerasCode:
    """What a single operator becomes: an expression of `inputs`, and the layout of its result.

    Every input is wanted in an order of its axes, and the result has one; `batch` is the ONNX
    axis of the result that holds the batch. `depends_on_size` is true where the code holds for
    one height and width alone.
    """

    expr: KerasExpr
    inputs: tuple[tuple[Value, Order], ...]
    order: Order
    batch: int | None
    weights: dict[str, Array] = field(default_factory=dict)
    depends_on_size: bool = False

    @property
    def is_layer(self) -> bool:
        """True if the result comes out of a layer that has a name."""
        return self.expr.is_named_layer
