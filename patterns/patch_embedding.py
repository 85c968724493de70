"""Patch embedding: an image is cut into patches, and each becomes a token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Ops, Pattern, Var, require

from .image_to_tokens import image_to_tokens

if TYPE_CHECKING:
    from keras import KerasTensor, layers


class PatchEmbedding(Pattern):
    """(B, C, H, W) → (B, N, d) with N patches (arXiv:2010.11929, section 3.1).

    The linear layer on the pixels of a patch is a convolution whose stride is its kernel. What
    the patches do not fill at the right and at the bottom is left out.
    """

    keras = "patch_embedding"
    main = "projection"
    before = ("ConvBnAct",)

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = op.Conv2D(x, role="projection", dilation=1, groups=1)
        return op.ImageToTokens(y, role="tokens")

    def params(self, m: Match) -> dict[str, Any]:
        size, strides = m.projection.kernel_size, m.projection.strides
        require(size == strides, f"the kernel is {size}, the stride {strides}")
        pads = any(m.projection.matched[0].attrs["pads"])
        pads_elsewhere = m.projection.params.get("padding") == "same"
        require(not pads and not pads_elsewhere, "it pads the image")
        return {
            "dim": m.projection.filters,
            "patch_size": size,
            "use_bias": m.projection.use_bias,
        }


def patch_embedding(
    x: KerasTensor, dim: int, patch_size: int, use_bias: bool = True, *, name: str
) -> KerasTensor:
    """(B, H, W, C) → (B, N, dim): a linear layer on the pixels of each patch."""
    x = layers.Conv2D(dim, patch_size, strides=patch_size, use_bias=use_bias, name=name)(x)
    return image_to_tokens(x)
