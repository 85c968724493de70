"""Before a MobileViTv2 block: an image that patches do not fill is stretched until they do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Ops, Pattern, Var, require

if TYPE_CHECKING:
    from keras import KerasTensor, ops


class FillPatches(Pattern):
    """Bilinear, corners on corners (PyTorch's align_corners=True), by less than the image again.

    The patch is not to be seen here; the block around it knows its size.
    """

    keras = "fill_patches"
    inner = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Resize(x, role="stretch", mode="align_corners")

    def params(self, m: Match) -> dict[str, Any]:
        before, after = m.shape("x", 4)[2:], m.shape("stretch", 4)[2:]
        grown = all(0 <= new - old <= old for old, new in zip(before, after, strict=True))
        require(grown, f"it makes {after} of {before}, more than patches need")
        return {}


def fill_patches(x: KerasTensor, patch_size: int) -> KerasTensor:
    """Stretches images (B, H, W, C) until patches fill them: bilinear, corners stay corners."""
    for axis, along in ((1, "bhwc,ih->biwc"), (2, "bhwc,iw->bhic")):
        size = x.shape[axis]
        whole = -(-size // patch_size) * patch_size
        if whole != size:
            places = np.linspace(0, size - 1, whole, dtype="float32")
            distances = np.abs(places[:, None] - np.arange(size, dtype="float32"))
            x = ops.einsum(along, x, np.maximum(1 - distances, 0))
    return x
