"""Heads: from an image to logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.ir.block import Block
from onnx2mvit.ir.graph import Value
from onnx2mvit.ir.layout import plain
from onnx2mvit.matcher import (
    Builder,
    Expr,
    Match,
    Ops,
    Pattern,
    Rule,
    Var,
    any_of,
    constant,
    p,
    require,
)

from .pooling import require_floats

if TYPE_CHECKING:
    from keras import KerasTensor, layers, ops


class Classifier(Pattern):
    """(B, C, H, W) → (B, classes): logits, without softmax.

    MobileNetV3's has a hidden layer (arXiv:1905.02244, section 5.1).
    """

    keras = "classifier"
    main = "dense"

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = op.GlobalAveragePooling2D(x, role="pool")
        hidden = op.Dense(y, role="hidden", units=p.hidden, use_bias=p.use_bias)
        active = op.Activation(hidden, role="act", activation=p.activation)
        return op.Dense(any_of(y, active), role="dense", units=p.num_classes, use_bias=p.use_bias)


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


class NormOfMeanImage(Rule):
    """What normalizes the one pixel of a mean image normalizes the mean.

    ReduceMean(Transpose(LayerNormalization(Transpose(ReduceMean(x, axes=(2, 3), keepdims=1)))),
    axes=(2, 3), keepdims=0) → LayerNormalization(ReduceMean(x, axes=(2, 3), keepdims=0))
    """

    needed_by = "heads of timm and torchvision that normalize an image of one pixel"

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = op.ReduceMean(x, role="mean", axes=(2, 3), keepdims=1)
        y = op.Transpose(y, perm=(0, 2, 3, 1))
        y = op.LayerNormalization(y, constant("gamma", rank=1), constant("beta"), role="norm")
        return op.ReduceMean(op.Transpose(y, perm=(0, 3, 1, 2)), axes=(2, 3), keepdims=0)

    def rewrite(self, m: Match, new: Builder) -> Value:
        batch, channels, _, _ = m.shape("mean", 4)
        require(m.norm.attrs.get("axis", -1) in (-1, 3), "it normalizes not the channels alone")
        attrs = {**m.mean.attrs, "keepdims": 0}
        mean = new.ReduceMean(m.x, shape=(batch, channels), **attrs)
        return new.like_root(
            mean, m.gamma, m.beta, op="LayerNormalization", **{**m.norm.attrs, "axis": -1}
        )


class NormalizedClassifier(Pattern):
    """(B, C, H, W) → (B, classes): logits of the mean of all pixels, which is normalized.

    arXiv:2201.03545, section 2.2. Large ConvNeXts of timm have a hidden layer. RepViT and LeViT
    (arXiv:2104.01136, section 4.1) normalize over the batch.
    """

    keras = "normalized_classifier"
    main = "dense"
    before = ("Classifier",)

    def onnx(self, op: Ops, x: Var) -> Expr:
        y: Expr = op.GlobalAveragePooling2D(x, role="pool")
        y = any_of(
            op.LayerNorm(y, role="norm", epsilon=p.epsilon),
            op.BatchNorm(y, role="norm", epsilon=p.epsilon, momentum=p.momentum),
        )
        hidden = op.Dense(y, role="hidden", units=p.hidden, use_bias=p.use_bias)
        active = op.Activation(hidden, role="act", activation=p.activation)
        return op.Dense(any_of(y, active), role="dense", units=p.num_classes, use_bias=p.use_bias)

    def params(self, m: Match) -> dict[str, Any]:
        return {"batch_norm": True} if m.norm.kind == "BatchNorm" else {}


def normalized_classifier(
    x: KerasTensor,
    num_classes: int,
    hidden: int | None = None,
    activation: str = "gelu",
    use_bias: bool = True,
    batch_norm: bool = False,
    epsilon: float = 1e-6,
    momentum: float = 0.9,
    dropout: float = 0.0,
    classifier_activation: str | None = None,
    *,
    name: str,
) -> KerasTensor:
    """Global average pooling, normalization and a linear layer: logits."""
    x = layers.GlobalAveragePooling2D(name=f"{name}_pool")(x)
    if batch_norm:
        norm = {"epsilon": epsilon, "momentum": momentum}
        x = layers.BatchNormalization(**norm, name=f"{name}_norm")(x)
    else:
        x = layers.LayerNormalization(epsilon=epsilon, name=f"{name}_norm")(x)
    if hidden is not None:
        x = layers.Dense(hidden, use_bias=use_bias, name=f"{name}_hidden")(x)
        x = layers.Activation(activation, name=f"{name}_act")(x)
    if dropout:
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return layers.Dense(num_classes, classifier_activation, use_bias=use_bias, name=name)(x)


class MeanClassifier(Pattern):
    """(B, H, W, C), or tokens (B, N, C), → (B, classes): logits of the mean of all pixels."""

    keras = "mean_classifier"
    main = "dense"
    before = ("GlobalAveragePooling2D", "GlobalMean", "TokenPooling")
    order = staticmethod(plain)

    def onnx(self, op: Ops, x: Var) -> Expr:
        image, tokens = op.Transpose(x, perm=(0, 3, 1, 2)), op.Transpose(x, perm=(0, 2, 1))
        # AdaptiveAvgPool1d(1), as torch's exporter takes it apart.
        row = op.ReduceMean(op.Rearrange("b n c -> b c 1 n", x), axes=(2, 3), keepdims=1)
        y = any_of(
            op.ReduceMean(x, role="mean", axes=(1, 2), keepdims=0),
            op.ReduceMean(image, role="mean", axes=(2, 3), keepdims=0),
            op.ReduceMean(tokens, role="mean", axes=(2,), keepdims=0),
            op.ReduceMean(row, role="mean", axes=(2, 3), keepdims=0),
        )
        return op.Dense(y, role="dense", units=p.num_classes, use_bias=p.use_bias)

    def params(self, m: Match) -> dict[str, Any]:
        require(m.mean.output.shape == (m.x.shape[0], m.x.shape[-1]), "it is no mean of pixels")
        return {}


def mean_classifier(
    x: KerasTensor,
    num_classes: int,
    use_bias: bool = True,
    dropout: float = 0.0,
    classifier_activation: str | None = None,
    *,
    name: str,
) -> KerasTensor:
    """Logits of the mean of all pixels, unless it gets an activation."""
    x = ops.mean(x, axis=tuple(range(1, len(x.shape) - 1)))
    if dropout:
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return layers.Dense(num_classes, classifier_activation, use_bias=use_bias, name=name)(x)


class MeanOfPixels(Pattern):
    """(B, H, W, C) → (B, C): the mean of all pixels, where no classes follow."""

    keras = "mean_of_pixels"
    last = True
    order = staticmethod(plain)

    def onnx(self, op: Ops, x: Var) -> Expr:
        image = op.Transpose(x, perm=(0, 3, 1, 2))
        mean = op.ReduceMean(x, role="mean", axes=(1, 2), keepdims=0)
        return any_of(mean, op.GlobalAveragePooling2D(image, role="pool"))

    def params(self, m: Match) -> dict[str, Any]:
        m.shape("x", 4)
        require_floats(m)
        maker = m.graph.producer(m.x)
        pixels = isinstance(maker, Block) and maker.pattern.gives(4) == plain(4)
        require(pixels, "nothing says that its channels are last")
        return {}


def mean_of_pixels(x: KerasTensor, *, name: str) -> KerasTensor:
    """(B, H, W, C) → (B, C): the mean of all pixels."""
    return layers.GlobalAveragePooling2D(name=f"{name}_pool")(x)
