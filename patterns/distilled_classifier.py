"""DeiT's heads: one on the class token, one on the distillation token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Ops, Pattern, Var, require

from .average import average
from .token_classifier import token_classifier

if TYPE_CHECKING:
    from keras import KerasTensor, layers


class DistilledClassifier(Pattern):
    """(B, N, d) → (B, classes): the mean of the logits of the first two tokens.

    arXiv:2012.12877, section 4.
    """

    keras = "distilled_classifier"
    main = "head"

    def onnx(self, op: Ops, x: Var) -> Expr:
        head = op.TokenClassifier(x, role="head", pooling="token", start=0)
        dist = op.TokenClassifier(x, role="dist", pooling="token", start=1)
        return op.Average(head, dist, role="average")

    def params(self, m: Match) -> dict[str, Any]:
        require(m.head.use_bias and m.dist.use_bias, "a head has no bias")
        return {"num_classes": m.head.num_classes}


def distilled_classifier(
    x: KerasTensor,
    num_classes: int,
    dropout: float = 0.0,
    classifier_activation: str | None = None,
    *,
    name: str,
) -> KerasTensor:
    """The mean of the logits of the class token and of the distillation token."""
    head = token_classifier(x, num_classes, dropout=dropout, name=name)
    dist = token_classifier(x, num_classes, start=1, dropout=dropout, name=f"{name}_dist")
    x = average(head, dist, name=f"{name}_average")
    if classifier_activation:
        x = layers.Activation(classifier_activation, name=f"{name}_activation")(x)
    return x
