"""Bilinear interpolation: images in a larger size, by a factor or to the size of another image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.ir.block import Block
from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, require

if TYPE_CHECKING:
    from keras import KerasTensor, layers, ops


def is_bilinear(mode: str) -> bool:
    """The condition on `mode`, as the reader's rules write it, for bilinear interpolation."""
    return mode in ("linear", "align_corners")


def corners(m: Match) -> dict[str, bool]:
    """Whether corner pixels stay on the corners (PyTorch's align_corners); by the role `resize`."""
    return {"align_corners": True} if m.resize.attrs["mode"] == "align_corners" else {}


def whole_factor(before: tuple[int, ...], after: tuple[int, ...]) -> int | None:
    """By how much height and width become larger; None if there is no whole factor for both."""
    factor = after[0] // before[0]
    whole = factor > 1 and after == tuple(length * factor for length in before)
    return factor if whole else None


class BilinearUpsampling(Pattern):
    """(B, C, H, W) → (B, C, f·H, f·W): ONNX Resize of mode linear by a whole factor.

    Its positions are those of half-pixel centres, or PyTorch's align_corners=True.
    """

    keras = "bilinear_upsampling"
    before = ("FillPatches",)

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Resize(x, role="resize", mode=is_bilinear)

    def params(self, m: Match) -> dict[str, Any]:
        before, after = m.shape("x", 4)[2:], m.shape("resize", 4)[2:]
        factor = whole_factor(before, after)
        require(m.x.const is None, "it is of a constant")
        require(not m.resize.attrs.get("by_sizes"), "it is to a size, not by a factor")
        larger = after[0] // before[0] > 1
        require(larger, f"an image of {before} becomes one of {after}: it is not larger")
        whole = factor is not None
        require(whole, f"an image of {before} becomes one of {after}: no whole factor for both")
        return {"factor": factor, **corners(m)}


def bilinear_upsampling(
    x: KerasTensor, factor: int, align_corners: bool = False, *, name: str
) -> KerasTensor:
    """(B, H, W, C) → (B, f·H, f·W, C), interpolated between pixels."""
    if align_corners:
        return resize_corners(x, x, factor, name=name)
    return layers.UpSampling2D(factor, interpolation="bilinear", name=name)(x)


class ResizeToInput(Pattern):
    """(B, C, h, w) → (B, C, H, W), the height and width of the network's own input.

    A file has that size as a number, or computes it from the input. Masks of networks for
    segmentation end so (arXiv:1706.05587, section 4.1); the positions are `BilinearUpsampling`'s.
    """

    keras = "resize_to_input"
    before = ("FillPatches",)

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Resize(x, role="resize", mode=is_bilinear, by_sizes=1)

    def operands(self, m: Match) -> tuple[Value, ...]:
        return m.x, m.graph.inputs[0]

    def params(self, m: Match) -> dict[str, Any]:
        after = m.shape("resize", 4)[2:]
        require(m.x.const is None, "it is of a constant")
        require(len(m.graph.inputs) == 1, "the network has several inputs")
        image = m.graph.inputs[0].shape or ()
        require(len(image) == 4, "the network's input is no image")
        require(image[2:] == after, f"it makes {after} pixels, the input has {image[2:]}")
        return corners(m)

    def may_be_factor(self, block: Block) -> int | None:
        """A file of one size does not tell `size=x.shape[2:]` from `scale_factor=8`."""
        before, after = ((value.shape or ())[2:] for value in block.operands)
        return whole_factor(before, after)


def resize_to_input(
    x: KerasTensor, image: KerasTensor, align_corners: bool = False, *, name: str
) -> KerasTensor:
    """(B, h, w, C) → (B, H, W, C) with the size of `image`, interpolated between pixels."""
    if align_corners:
        return resize_corners(x, image, name=name)
    return resize_like(x, image, name=name)


def resize_like(x: KerasTensor, image: KerasTensor, *, name: str) -> KerasTensor:
    """Bilinear interpolation to the height and width of another image."""
    # Called by itself, a model with the layer Resizing trains what comes after that.
    resized = ops.image.resize(x, image.shape[1:3], interpolation="bilinear")
    return layers.Identity(name=name)(resized)


def resize_like_any_size() -> None:
    """For images of any size: what takes the place of `resize_like`."""

    def resize_like(x: KerasTensor, image: KerasTensor, *, name: str) -> KerasTensor:
        """Bilinear interpolation to the height and width of another image, whatever they are."""
        weights = []
        for axis in (1, 2):
            here, there = positions(x, axis), positions(image, axis)
            last = ops.max(here)
            place = (there + 0.5) * (last + 1) / (ops.max(there) + 1) - 0.5
            place = ops.minimum(ops.maximum(place, 0.0), last)
            weights.append(linear_weights(place, here))
        return layers.Identity(name=name)(weighted_pixels(x, *weights))


def resize_corners(
    x: KerasTensor, image: KerasTensor, factor: int = 1, *, name: str
) -> KerasTensor:
    """Bilinear interpolation to the size of an image times `factor`, corners on corners.

    Keras's layers have half-pixel centres, which leaves half a pixel around the corners.
    """
    weights = []
    for axis in (1, 2):
        here, there = positions(x, axis), positions(image, axis, factor)
        place = there * ops.max(here) / ops.maximum(ops.max(there), 1.0)
        weights.append(linear_weights(place, here))
    return layers.Identity(name=name)(weighted_pixels(x, *weights))


def positions(image: KerasTensor, axis: int, factor: int = 1) -> KerasTensor:
    """0, 1, 2, … for the rows (axis 1) or columns (2) of an image of any size times `factor`."""
    line = image[0, :, 0, 0] if axis == 1 else image[0, 0, :, 0]
    return ops.cumsum(ops.repeat(ops.ones_like(line, dtype="float32"), factor)) - 1


def linear_weights(place: KerasTensor, here: KerasTensor) -> KerasTensor:
    """What each pixel `here` has in the value at each `place`: (places, pixels)."""
    return ops.relu(1 - ops.abs(ops.expand_dims(place, 1) - here))


def weighted_pixels(x: KerasTensor, rows: KerasTensor, columns: KerasTensor) -> KerasTensor:
    """(B, h, w, C) → (B, H, W, C): sums of rows by weights (H, h), then of columns by (W, w)."""
    x = ops.einsum("ij,bjwc->biwc", rows, x)
    return ops.einsum("ij,bhjc->bhic", columns, x)
