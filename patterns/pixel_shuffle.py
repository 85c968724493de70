"""Sub-pixel convolution's last step: channels become pixels (arXiv:1609.05158, section 3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx2mvit.matcher import Expr, Ops, Pattern, Var, p

if TYPE_CHECKING:
    from keras import KerasTensor, ops

LARGER = p.factor.where(lambda factor: factor > 1)


class PixelShuffle(Pattern):
    """(B, C·r², H, W) → (B, C, r·H, r·W), where the r² pixels of a channel lie side by side.

    ONNX's DepthToSpace of mode CRD, and what it stands for written out.
    """

    keras = "pixel_shuffle"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Rearrange("b (d p q) h w -> b d (h p) (w q)", x, p=LARGER, q=LARGER)


def pixel_shuffle(x: KerasTensor, factor: int) -> KerasTensor:
    """Channels to blocks of `factor`² pixels; Keras has the channels of one pixel side by side."""
    pixels, depth = factor**2, x.shape[-1] // factor**2
    order = [channel * pixels + pixel for pixel in range(pixels) for channel in range(depth)]
    return ops.depth_to_space(ops.take(x, order, axis=-1), factor)
