"""Heads of transformers: from tokens to logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, maybe, p, require, scalar

from .pooling import require_floats

if TYPE_CHECKING:
    from keras import KerasTensor, layers, ops


class TokenPooling(Pattern):
    """(B, N, d) → (B, d): one token, or the mean of those that are not before the patches."""

    keras = "token_pooling"

    def onnx(self, op: Ops, x: Var) -> Expr:
        patches = maybe(op.Slice(x, role="patches", axis=1))
        return any_of(
            op.Select(x, role="token", axis=1),
            op.ReduceMean(patches, role="mean", axes=(1,), keepdims=0),
        )

    def params(self, m: Match) -> dict[str, Any]:
        _, tokens, _ = m.shape("x", 3)
        if m.token is not None:
            index = m.token.attrs["index"]
            # Reading counts from the front; at another size the last token is another.
            return {"pooling": "token", "start": index if index < tokens - 1 else -1}
        require_floats(m)
        part = m.patches.attrs if m.patches is not None else {"start": 0, "end": tokens}
        require(part.get("end") == tokens, "it leaves out the last token")
        return {"pooling": "mean", "start": part["start"]}


def token_pooling(x: KerasTensor, pooling: str = "token", start: int = 0) -> KerasTensor:
    """(B, N, d) → (B, d): the token at `start`, or the mean from there on."""
    return x[:, start] if pooling == "token" else ops.mean(x[:, start:], axis=1)


class TokenClassifier(Pattern):
    """(B, N, d) → (B, classes): logits of one token, or of the mean of several.

    arXiv:2010.11929, section 3.1 and appendix D.3.
    """

    keras = "token_classifier"
    main = "dense"

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = op.TokenPooling(x, role="pool", **p("pooling", "start"))
        return op.Dense(y, role="dense", units=p.num_classes, use_bias=p.use_bias)


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


class Pooler(Pattern):
    """(B, N, d) → (B, dim): a linear layer on the class token, and tanh.

    arXiv:2010.11929, section 3.1: the head of pre-training is an MLP with one hidden layer.
    """

    keras = "pooler"
    main = "dense"
    before = ("TokenClassifier",)

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = op.TokenPooling(x, role="pool", **p("pooling", "start"))
        y = op.Dense(y, role="dense", units=p.dim, use_bias=True)
        return op.Activation(y, role="act", activation="tanh")


def pooler(
    x: KerasTensor, dim: int, pooling: str = "token", start: int = 0, *, name: str
) -> KerasTensor:
    """A linear layer and tanh on the token at `start`, or on the mean from there on."""
    x = token_pooling(x, pooling, start)
    x = layers.Dense(dim, name=name)(x)
    return layers.Activation("tanh", name=f"{name}_act")(x)


class Average(Pattern):
    """(B, C), (B, C) → (B, C): what two heads agree on."""

    keras = "average"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Mul(op.Add(x, Var("other")), scalar("half", 0.5))

    def params(self, m: Match) -> dict[str, Any]:
        require(m.x.const is None and m.other.const is None, "one of them is a constant")
        require(m.shape("x", 2) == m.shape("other", 2), "they differ in shape")
        return {}


def average(x: KerasTensor, *others: KerasTensor, name: str) -> KerasTensor:
    """The mean of tensors of one shape."""
    return layers.Average(name=name)([x, *others])


class DistilledClassifier(Pattern):
    """(B, N, d) → (B, classes): the mean of the logits of the first two tokens.

    arXiv:2012.12877, section 4.
    """

    keras = "distilled_classifier"
    main = "head"

    def onnx(self, op: Ops, x: Var) -> Expr:
        own = {"num_classes": p.num_classes, "pooling": "token", "use_bias": True}
        head = op.TokenClassifier(x, role="head", start=0, **own)
        dist = op.TokenClassifier(x, role="dist", start=1, **own)
        return op.Average(head, dist, role="average")


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
