"""The variance of the pixels of each channel, as torch's `var` and `std` estimate it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.base.numbers import is_unbiased
from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, require, scalar

from .pooling import global_mean, require_floats

if TYPE_CHECKING:
    from keras import KerasTensor, ops


def mean_square(op: Ops, x: Expr, axes: tuple[int, ...]) -> Expr:
    """The mean of how far numbers are from their mean, squared, along axes that stay or go."""
    off = op.Sub(x, op.ReduceMean(x, axes=axes, keepdims=1))
    square = op.Mul(off, off)
    flat = op.ReduceMean(square, axes=axes, keepdims=0)
    kept = op.ReduceMean(square, axes=axes, keepdims=1)
    return any_of(kept, op.Rearrange("b c -> b c 1 1", flat), flat)


class UnbiasedVariance(Pattern):
    """(B, C, H, W) → (B, C, 1, 1) or (B, C): Σ(x - mean)² / (H·W - 1).

    A file has the mean of the squares, and H·W / (H·W - 1) as a number.
    """

    keras = "unbiased_variance"
    before = ("GlobalMean", "GlobalAveragePooling2D")
    counts_pixels = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        in_a_row = op.Rearrange("b c h w -> b c (h w)", x)
        return op.Mul(
            any_of(mean_square(op, x, (2, 3)), mean_square(op, in_a_row, (2,))),
            scalar("correction"),
        )

    def params(self, m: Match) -> dict[str, Any]:
        _, _, height, width = m.shape("x", 4)
        require_floats(m)
        found = m.correction.const.item()
        require(is_unbiased(found, height * width), "its variance is no estimate")
        rank = len(m.root.output.shape or ())
        require(rank in (2, 4), "it gives neither images nor vectors")
        return {"flat": rank == 2}


def unbiased_variance(x: KerasTensor, flat: bool = False) -> KerasTensor:
    """(B, H, W, C) → (B, 1, 1, C): the variance of all pixels, its estimate unbiased."""
    off = x - global_mean(x)
    variance = unbiased(global_mean(off * off), x)
    if flat:
        variance = ops.squeeze(variance, (1, 2))
    return variance


def unbiased(variance: KerasTensor, x: KerasTensor) -> KerasTensor:
    """The estimate of a variance from that of the pixels of an image."""
    pixels = x.shape[1] * x.shape[2]
    return variance * (pixels / (pixels - 1))


def unbiased_any_size() -> None:
    """For images of any size: what takes the place of `unbiased`."""

    def unbiased(variance: KerasTensor, x: KerasTensor) -> KerasTensor:
        """The estimate of a variance from that of the pixels of an image, however many."""
        pixels = ops.sum(ops.ones_like(x[:, :, :, :1]), axis=(1, 2), keepdims=True)
        return variance * (pixels / (pixels - 1))
