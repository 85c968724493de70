"""The usual head: global average pooling and a linear layer, or two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Ops, Pattern, Var, any_of

if TYPE_CHECKING:
    from keras import KerasTensor, layers


class Classifier(Pattern):
    """(B, C, H, W) → (B, classes): logits, without softmax.

    MobileNetV3's has a hidden layer (arXiv:1905.02244, section 5.1).
    """

    keras = "classifier"
    main = "dense"

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = op.GlobalAveragePooling2D(x, role="pool")
        hidden = op.Activation(op.Dense(y, role="hidden"), role="act")
        return op.Dense(any_of(y, hidden), role="dense")

    def params(self, m: Match) -> dict[str, Any]:
        layer = {"num_classes": m.dense.units, **m.common(("hidden", "dense"), "use_bias")}
        if m.hidden is None:
            return layer
        return layer | {"hidden": m.hidden.units, "activation": m.act.activation}


def classifier(
    x: KerasTensor,
    num_classes: int,
    hidden: int | None = None,
    activation: str = "relu",
    use_bias: bool = True,
    dropout: float = 0.0,
    classifier_activation: str | None = None,
    *,
    name: str,
) -> KerasTensor:
    """Global average pooling and a linear layer: logits, unless it gets an activation."""
    x = layers.GlobalAveragePooling2D(name=f"{name}_pool")(x)
    if hidden is not None:
        x = layers.Dense(hidden, use_bias=use_bias, name=f"{name}_hidden")(x)
        x = layers.Activation(activation, name=f"{name}_act")(x)
    if dropout:
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return layers.Dense(num_classes, classifier_activation, use_bias=use_bias, name=name)(x)
