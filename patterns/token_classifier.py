"""The head of a vision transformer: a linear layer on the class token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Ops, Pattern, Var

from .token_pooling import token_pooling

if TYPE_CHECKING:
    from keras import KerasTensor, layers


class TokenClassifier(Pattern):
    """(B, N, d) → (B, classes): logits of one token, or of the mean of several.

    arXiv:2010.11929, section 3.1 and appendix D.3.
    """

    keras = "token_classifier"
    main = "dense"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Dense(op.TokenPooling(x, role="pool"), role="dense")

    def params(self, m: Match) -> dict[str, Any]:
        return {
            "num_classes": m.dense.units,
            **m.pool.params,
            "use_bias": m.dense.use_bias,
        }


def token_classifier(
    x: KerasTensor,
    num_classes: int,
    pooling: str = "token",
    start: int = 0,
    use_bias: bool = True,
    dropout: float = 0.0,
    classifier_activation: str | None = None,
    *,
    name: str,
) -> KerasTensor:
    """Logits of the token at `start`, or of the mean from there on."""
    x = token_pooling(x, pooling, start)
    if dropout:
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return layers.Dense(num_classes, classifier_activation, use_bias=use_bias, name=name)(x)
