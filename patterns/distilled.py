"""The head of networks that learn from a teacher and have no token for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, p, require

from .heads import average

if TYPE_CHECKING:
    from keras import KerasTensor, layers, ops


class TwoHeadClassifier(Pattern):
    """(B, C, H, W), or tokens (B, N, C), → (B, classes): what two classifiers of the mean agree on.

    One of them learned from a teacher (arXiv:2104.01136, section 4.1).
    """

    keras = "two_head_classifier"
    main = "head"
    style = ("batch_norm", "bn_epsilon", "bn_momentum")

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = any_of(
            op.GlobalAveragePooling2D(x, role="pool"),
            op.TokenPooling(x, role="pool", pooling="mean", start=0),
        )
        norm = {"epsilon": p.bn_epsilon, "momentum": p.bn_momentum}
        own = {"units": p.num_classes, "use_bias": True}
        heads = (
            op.Dense(any_of(op.BatchNorm(y, role=f"{role}_bn", **norm), y), role=role, **own)
            for role in ("head", "dist")
        )
        return op.Average(*heads, role="average")

    def params(self, m: Match) -> dict[str, Any]:
        norms = [block is not None for block in (m.head_bn, m.dist_bn)]
        require(norms[0] == norms[1], "one of the heads alone normalizes")
        return {"batch_norm": norms[0]}


def two_head_classifier(
    x: KerasTensor,
    num_classes: int,
    batch_norm: bool = False,
    bn_epsilon: float = 1e-5,
    bn_momentum: float = 0.9,
    dropout: float = 0.0,
    classifier_activation: str | None = None,
    *,
    name: str,
) -> KerasTensor:
    """The mean of the logits that two linear layers make of the mean of all pixels or tokens."""
    x = ops.mean(x, axis=tuple(range(1, len(x.shape) - 1)))
    answers = []
    for head in (name, f"{name}_dist"):
        y = x
        if batch_norm:
            norm = {"epsilon": bn_epsilon, "momentum": bn_momentum}
            y = layers.BatchNormalization(**norm, name=f"{head}_bn")(y)
        if dropout:
            y = layers.Dropout(dropout, name=f"{head}_dropout")(y)
        answers.append(layers.Dense(num_classes, name=head)(y))
    x = average(*answers, name=f"{name}_average")
    if classifier_activation:
        x = layers.Activation(classifier_activation, name=f"{name}_activation")(x)
    return x
