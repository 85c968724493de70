"""The usual head: global average pooling and a linear layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher import Match
from onnx2mvit.pattern import Expr, Ops, Pattern, Var

if TYPE_CHECKING:
    from keras import KerasTensor, layers


class Classifier(Pattern):
    """(B, C, H, W) → (B, classes): logits, without softmax."""

    keras = "classifier"
    main = "dense"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Dense(op.GlobalAveragePooling2D(x, role="pool"), role="dense")

    def params(self, m: Match) -> dict[str, Any]:
        return {"num_classes": m.dense.units, "use_bias": m.dense.use_bias}


def classifier(
    x: KerasTensor, num_classes: int, use_bias: bool = True, *, name: str
) -> KerasTensor:
    """Global average pooling and a linear layer that answers with logits."""
    x = layers.GlobalAveragePooling2D(name=f"{name}_pool")(x)
    return layers.Dense(num_classes, use_bias=use_bias, name=name)(x)
