"""The head of networks that learn from a teacher and have no token for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, p, require

from .token_heads import average

if TYPE_CHECKING:
    from keras import KerasTensor, layers, ops


class TwoHeadClassifier(Pattern):
    """(B, C, H, W), or tokens (B, N, C), → (B, classes): what two classifiers of the mean agree on.

    One of them learned from a teacher (arXiv:2104.01136, section 4.1).
    """

    keras = "two_head_classifier"
    main = "head"
    before = ("GlobalAveragePooling2D", "TokenPooling")
    style = ("batch_norm", "use_bias", "bn_epsilon", "bn_momentum")

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = any_of(
            op.ReduceMean(x, role="mean", axes=(2, 3), keepdims=0),
            op.ReduceMean(x, role="mean", axes=(1,), keepdims=0),
        )
        norm = {"epsilon": p.bn_epsilon, "momentum": p.bn_momentum}
        own = p("use_bias") | {"units": p.num_classes}
        head = any_of(op.BatchNorm(y, role="norm", **norm), y)
        dist = any_of(op.BatchNorm(y, role="dist_norm", **norm), y)
        answers = op.Dense(head, role="head", **own), op.Dense(dist, role="dist", **own)
        return op.Average(*answers, role="average")

    def params(self, m: Match) -> dict[str, Any]:
        rank = 2 + len(m.mean.attrs["axes"])
        require(len(m.shape("x")) == rank, "it is no mean of pixels or tokens")
        norms = [block is not None for block in (m.norm, m.dist_norm)]
        require(norms[0] == norms[1], "one of the heads alone normalizes")
        return {"batch_norm": norms[0]}


def two_head_classifier(
    x: KerasTensor,
    num_classes: int,
    use_bias: bool = True,
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
    if dropout:
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    head = dist = x
    if batch_norm:
        norm = {"epsilon": bn_epsilon, "momentum": bn_momentum}
        head = layers.BatchNormalization(**norm, name=f"{name}_norm")(x)
        dist = layers.BatchNormalization(**norm, name=f"{name}_dist_norm")(x)
    head = layers.Dense(num_classes, use_bias=use_bias, name=name)(head)
    dist = layers.Dense(num_classes, use_bias=use_bias, name=f"{name}_dist")(dist)
    x = average(head, dist, name=f"{name}_average")
    if classifier_activation:
        x = layers.Activation(classifier_activation, name=f"{name}_activation")(x)
    return x
