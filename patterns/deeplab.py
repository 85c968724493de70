"""DeepLabV3 (arXiv:1706.05587): atrous spatial pyramid pooling, and a mask of what it finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, each, p, require

from .conv import STYLE, Conv, PointwiseConv, conv_bn_act
from .masks import mask_classifier, pixel_classifier
from .mobilenet import depthwise_separable
from .pooling import global_mean
from .upsampling import is_bilinear

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers, ops


class ASPP(Pattern):
    """Atrous spatial pyramid pooling (arXiv:1706.05587, section 3.3 and figure 5).

    Side by side a 1×1 convolution, 3×3 convolutions of growing rates, which may be depthwise
    separable (arXiv:1802.02611, section 3.1), and image-level features; a 1×1 convolution of all.
    """

    keras = "aspp"
    nested = True
    before = ("FillPatches", "ResizeToInput")

    def onnx(self, op: Ops, x: Var) -> Expr:
        conv = {**p("filters", "activation"), **STYLE}
        own = {"strides": 1, "depthwise_activation": p.depthwise_activation}
        image = PointwiseConv(op.GlobalMean(x, role="pool"), role="branch", **conv)
        branch = any_of(
            op.Resize(image, role="resize", mode=is_bilinear),
            Conv(x, role="branch", strides=1, **conv),
            op.DepthwiseSeparable(x, role="branch", kernel_size=3, **own, **conv),
        )
        y = op.Concat(each(branch, role="branches"), axis=1)
        return PointwiseConv(y, role="project", **conv)

    def params(self, m: Match) -> dict[str, Any]:
        require(len({part.x for part in m.branches}) == 1, "its branches have different inputs")
        rates = tuple(rate_of(part) for part in m.branches)
        require(rates.count("image") == 1, f"{rates.count('image')} branches see the whole image")
        atrous = [
            part.branch.kind
            for part, rate in zip(m.branches, rates, strict=True)
            if rate not in (1, "image")
        ]
        require(len(set(atrous)) < 2, "its convolutions are of different kinds")
        return {"rates": rates, **({"separable": True} if "DepthwiseSeparable" in atrous else {})}


def rate_of(part: Match) -> int | str:
    """The rate of a branch: 1 for a 1×1 convolution, "image" for image-level features."""
    if part.pool is not None:
        # Of one pixel bilinear interpolation makes equal ones, wherever its positions are.
        require(part.shape("x", 4)[2:] == part.shape("resize")[2:], "another size is joined")
        return "image"
    size, rate = part.branch.params["kernel_size"], int(part.branch.params["dilation"])
    known = rate == 1 if size == 1 else size == 3 and rate > 1
    require(known, f"a branch is {size}×{size} with rate {rate}")
    return rate


def aspp(
    x: KerasTensor,
    filters: int,
    rates: tuple[Any, ...],
    separable: bool = False,
    depthwise_activation: str | None = None,
    activation: str | None = "relu",
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """Convolutions of several rates side by side, joined by a 1×1 convolution.

    The rate 1 is a 1×1 convolution, others are 3×3; "image" is the mean of all pixels.
    """
    inputs = keras.Input(x.shape[1:])
    conv["activation"] = activation
    branches = []
    for i, rate in enumerate(rates):
        if separable and rate not in (1, "image"):
            y = depthwise_separable(
                inputs,
                filters,
                dilation=rate,
                depthwise_activation=depthwise_activation,
                name=f"branch.{i}",
                **conv,
            )
            branches.append(y)
            continue
        if rate == "image":
            y = conv_bn_act(global_mean(inputs), filters, 1, name=f"branch.{i}", **conv)
            y = ops.ones_like(inputs[..., :1]) * y  # the same at every pixel
        else:
            size = 1 if rate == 1 else 3
            y = conv_bn_act(inputs, filters, size, dilation=rate, name=f"branch.{i}", **conv)
        branches.append(y)
    y = layers.Concatenate(name="concat")(branches)
    y = conv_bn_act(y, filters, 1, name="project", **conv)
    return keras.Model(inputs, y, name=name)(x)


class DeepLabV3Head(Pattern):
    """(B, C, H, W) → (B, classes, H, W): logits of every pixel (arXiv:1706.05587, section 4).

    Some code bases have a 3×3 convolution before the classifier.
    """

    keras = "deeplabv3_head"
    nested = True
    before = ("FusedMBConv",)

    def onnx(self, op: Ops, x: Var) -> Expr:
        own = p("filters", "rates", "separable", "depthwise_activation", "activation")
        y = op.ASPP(x, role="aspp", **own, **STYLE)
        alike = {"filters": p.filters, "activation": p.activation, "strides": 1, "dilation": 1}
        conv = Conv(y, role="conv", kernel_size=3, **alike, **STYLE)
        return mask_classifier(any_of(conv, y))

    def params(self, m: Match) -> dict[str, Any]:
        return {"conv": True} if m.conv is not None else {}


def deeplabv3_head(
    x: KerasTensor,
    num_classes: int,
    filters: int,
    rates: tuple[Any, ...],
    conv: bool = False,
    dropout: float = 0.0,
    *,
    name: str,
    **aspp_options: Any,
) -> KerasTensor:
    """Atrous spatial pyramid pooling, and a classifier of every pixel."""
    inputs = keras.Input(x.shape[1:])
    y = aspp(inputs, filters, rates, name="aspp", **aspp_options)
    if conv:
        y = conv_bn_act(y, filters, 3, name="conv", **aspp_options)
    y = pixel_classifier(y, num_classes, dropout, name="classifier")
    return keras.Model(inputs, y, name=name)(x)
