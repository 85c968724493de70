"""PSPNet (arXiv:1612.01105): pyramid pooling, and a mask of what it finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.ir.window import window_of
from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, each, p, require

from .adaptive_pooling import adaptive_average_pooling
from .conv import STYLE, Conv, PointwiseConv, conv_bn_act
from .masks import mask_classifier, pixel_classifier
from .upsampling import corners, is_bilinear, resize_to_input

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers


class PyramidPooling(Pattern):
    """The pyramid pooling module (arXiv:1612.01105, section 3.2 and figure 3).

    The image, and beside it for each of `sizes` its mean in so many by so many windows, a 1×1
    convolution, and bilinear interpolation to the size of the image; a convolution of all.
    """

    keras = "pyramid_pooling"
    nested = True
    before = ("AveragePooling2D", "FillPatches", "FusedMBConv", "ResizeToInput")

    def onnx(self, op: Ops, x: Var) -> Expr:
        conv = {"activation": p.activation, "strides": 1, "dilation": 1, **STYLE}
        # Where its windows do not overlap, it is written as pooling of this one size.
        pool = any_of(
            op.AdaptiveAveragePooling2D(x, role="pool"),
            op.AveragePool(x, role="pool"),
            op.GlobalMean(x, role="pool"),
        )
        level = PointwiseConv(pool, role="level", filters=p.level_filters, **conv)
        resized = op.Resize(level, role="resize", mode=is_bilinear)
        y = op.Concat(each(any_of(resized, x), role="levels"), axis=1)
        return Conv(y, role="fusion", **p("filters", "kernel_size"), **conv)

    def params(self, m: Match) -> dict[str, Any]:
        image, *levels = m.levels
        _, _, *size = image.shape("x", 4)
        require({part.x for part in m.levels} == {image.x}, "its levels have different inputs")
        require(image.level is None and bool(levels), "the image is not the first of its levels")
        require(all(part.level is not None for part in levels), "the image is in it twice")
        how = [corners(part) for part in levels]
        require(all(each == how[0] for each in how), "its levels are interpolated in two ways")
        return {"sizes": tuple(windows(part, size) for part in levels), **how[0]}


def windows(part: Match, size: list[int]) -> int:
    """By how many windows a level divides an image of this size in each direction."""
    height, width = part.shape("level", 4)[2:]
    require(height == width, f"a level has {height}×{width} pixels")
    require(list(part.shape("resize")[2:]) == size, "a level is resized to another size")
    if part.pool.op == "AveragePool":
        window = window_of(part.pool)
        whole = [length * height for length in window.size]
        fills = whole == size and window.size == window.strides and not window.padded
        require(fills, "the windows of a level are not side by side")
    return int(height)


def pyramid_pooling(
    x: KerasTensor,
    filters: int,
    sizes: tuple[int, ...],
    level_filters: int,
    kernel_size: int = 3,
    align_corners: bool = False,
    activation: str | None = "relu",
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """The image, and beside it its mean in ever more windows, joined by a convolution."""
    inputs = keras.Input(x.shape[1:])
    conv["activation"] = activation
    levels = [inputs]
    for i, size in enumerate(sizes, 1):
        y = adaptive_average_pooling(inputs, size)
        y = conv_bn_act(y, level_filters, 1, name=f"level.{i}", **conv)
        y = resize_to_input(y, inputs, align_corners=align_corners, name=f"resize_{i}")
        levels.append(y)
    y = layers.Concatenate(name="concat")(levels)
    y = conv_bn_act(y, filters, kernel_size, name="fusion", **conv)
    return keras.Model(inputs, y, name=name)(x)


class PSPNetHead(Pattern):
    """(B, C, H, W) → (B, classes, H, W): logits of every pixel (arXiv:1612.01105, figure 3)."""

    keras = "pspnet_head"
    nested = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        own = p("filters", "sizes", "level_filters", "kernel_size", "align_corners", "activation")
        return mask_classifier(op.PyramidPooling(x, role="pyramid", **own, **STYLE))


def pspnet_head(
    x: KerasTensor,
    num_classes: int,
    filters: int,
    sizes: tuple[int, ...],
    level_filters: int,
    dropout: float = 0.0,
    *,
    name: str,
    **pyramid: Any,
) -> KerasTensor:
    """Pyramid pooling, and a classifier of every pixel."""
    inputs = keras.Input(x.shape[1:])
    y = pyramid_pooling(inputs, filters, sizes, level_filters, name="pyramid", **pyramid)
    y = pixel_classifier(y, num_classes, dropout, name="classifier")
    return keras.Model(inputs, y, name=name)(x)
