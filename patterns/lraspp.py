"""Lite R-ASPP (arXiv:1905.02244, section 6.4): a mask of a coarse map and of a finer one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, p, require

from .conv import STYLE, PointwiseConv, conv_bn_act
from .masks import pixel_classifier
from .pooling import global_mean
from .upsampling import is_bilinear, resize_like

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers

GATE: dict[str, Any] = {"activation": "sigmoid", "batch_norm": False, "use_bias": False}
PLAIN: dict[str, Any] = {"activation": None, "batch_norm": False, "use_bias": True}


class LRASPPHead(Pattern):
    """(B, C, h, w), (B, D, H, W) → (B, classes, H, W): logits of every pixel of the finer map.

    arXiv:1905.02244, figure 10: a 1×1 convolution of the coarse map, times a gate that is worked
    out from the mean of all its pixels, is enlarged; the logits of both maps are added. The mean
    is torchvision's; the paper's gate has a window of 49×49.
    """

    keras = "lraspp_head"
    nested = True
    before = ("ResizeToInput", "FillPatches")

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = PointwiseConv(x, role="conv", filters=p.filters, activation=p.activation, **STYLE)
        mean = op.GlobalMean(x, role="pool")
        y = op.Mul(y, PointwiseConv(mean, role="scale", filters=p.filters, **GATE))
        y = op.Resize(y, role="resize", mode=is_bilinear, by_sizes=1)
        classes = {"filters": p.num_classes, **PLAIN}
        high = PointwiseConv(y, role="high_classifier", **classes)
        return op.Add(PointwiseConv(Var("low"), role="low_classifier", **classes), high)

    def operands(self, m: Match) -> tuple[Value, ...]:
        return m.x, m.low

    def params(self, m: Match) -> dict[str, Any]:
        require(m.resize.attrs["mode"] == "linear", "it is enlarged corners on corners")
        finer, enlarged = m.shape("low", 4)[2:], m.shape("resize", 4)[2:]
        require(enlarged == finer, f"it is enlarged to {enlarged}, the finer map has {finer}")
        return {}


def lraspp_head(
    x: KerasTensor,
    low: KerasTensor,
    num_classes: int,
    filters: int,
    activation: str | None = "relu",
    dropout: float = 0.0,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """Logits of every pixel of `low`, from that map and from a coarser one."""
    inputs, finer = keras.Input(x.shape[1:]), keras.Input(low.shape[1:])
    gate: dict[str, Any] = {"activation": "sigmoid", "batch_norm": False, "use_bias": False}
    y = conv_bn_act(inputs, filters, 1, activation=activation, name="conv", **conv)
    scale = conv_bn_act(global_mean(inputs), filters, 1, name="scale", **gate)
    y = layers.Multiply(name="scaled")([y, scale])
    y = resize_like(y, finer, name="resized")
    y = pixel_classifier(y, num_classes, dropout, name="high_classifier")
    z = pixel_classifier(finer, num_classes, dropout, name="low_classifier")
    y = layers.Add(name="add")([z, y])
    return keras.Model([inputs, finer], y, name=name)([x, low])
