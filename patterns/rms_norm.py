"""Normalization of the channels of each pixel by how large they are, with nothing subtracted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from onnx2mvit.base.numbers import shortest
from onnx2mvit.matcher import (
    Array,
    Expr,
    Match,
    Ops,
    Pattern,
    Var,
    any_of,
    constant,
    p,
    require,
    scalar,
)

if TYPE_CHECKING:
    from keras import KerasTensor, layers, ops


def over_root(op: Ops, x: Expr, squares: Expr) -> Expr:
    """x/√(squares + ε), as a quotient or as a product with the inverse."""
    root = op.Sqrt(op.Add(squares, scalar("epsilon")))
    inverse = any_of(op.Reciprocal(root), op.Div(scalar("one", 1.0), root))
    return any_of(op.Mul(x, inverse), op.Div(x, root))


class RMSNorm2d(Pattern):
    """(B, C, H, W) → (B, C, H, W): the channels of each pixel by their root mean square.

    arXiv:1910.07467, section 4. Keras: RMSNormalization.
    """

    keras = "rms_norm"
    style = ("by_deviation", "epsilon")

    @property
    def is_leaf(self) -> bool:
        return True

    def onnx(self, op: Ops, x: Var) -> Expr:
        square: Expr = any_of(op.Pow(x, scalar("two", 2.0)), op.Mul(x, x))
        y = over_root(op, x, op.ReduceMean(square, axes=(1,), keepdims=1))
        return op.Mul(y, constant("gamma"))

    def params(self, m: Match) -> dict[str, Any]:
        _, channels, _, _ = m.shape("x", 4)
        gamma = m.gamma.const
        one_each = gamma.shape[-3:] == (channels, 1, 1) and gamma.size == channels
        require(one_each, "it has not one factor per channel")
        return {"by_deviation": False, "epsilon": shortest(m.epsilon.const.item())}

    def weights(self, m: Match) -> dict[str, Array]:
        return {"scale": m.gamma.const.reshape(-1)}


class OverDeviation(Pattern):
    """(B, C, H, W) → (B, C, H, W): x/√(v + ε), v the unbiased variance of a pixel's channels."""

    keras = "over_deviation"
    inner = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        pixels = op.Rearrange("b c h w -> b h w c", x)
        off = op.Sub(pixels, op.ReduceMean(pixels, axes=(3,), keepdims=1))
        square = op.Mul(off, off)
        variance = any_of(
            op.ReduceMean(square, axes=(3,), keepdims=1),
            op.Rearrange("b h w -> b h w 1", op.ReduceMean(square, axes=(3,), keepdims=0)),
        )
        y = over_root(op, pixels, op.Mul(variance, scalar("correction")))
        return op.Rearrange("b h w c -> b c h w", y)

    def params(self, m: Match) -> dict[str, Any]:
        _, channels, _, _ = m.shape("x", 4)
        found = m.correction.const.item()
        unbiased = channels > 1 and math.isclose(found, channels / (channels - 1), rel_tol=1e-6)
        require(unbiased, "its variance is no estimate")
        return {"epsilon": shortest(m.epsilon.const.item())}


def over_deviation(x: KerasTensor, epsilon: float = 1e-6) -> KerasTensor:
    """The channels of each pixel over their standard deviation, its estimate unbiased."""
    unbiased = x.shape[-1] / (x.shape[-1] - 1)
    variance = ops.var(x, axis=-1, keepdims=True) * unbiased
    return x * ops.rsqrt(variance + epsilon)


class SimpleNorm2d(Pattern):
    """The channels of each pixel by their deviation, times a factor for each (timm's SimpleNorm).

    Keras has no such layer. A depthwise convolution of one pixel is the factor.
    """

    keras = "rms_norm"
    main = "scale"
    style = ("by_deviation", "epsilon")

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = op.OverDeviation(x, role="over", epsilon=p.epsilon)
        return op.ImageLayerScale(y, role="scale")

    def params(self, m: Match) -> dict[str, Any]:
        return {"by_deviation": True}


def rms_norm(
    x: KerasTensor, by_deviation: bool = False, epsilon: float = 1e-6, *, name: str
) -> KerasTensor:
    """The channels of each pixel by how large they are together, times a factor for each."""
    if by_deviation:
        x = over_deviation(x, epsilon)
        factor: dict[str, Any] = {"depthwise_initializer": "ones", "use_bias": False}
        return layers.DepthwiseConv2D(1, **factor, name=name)(x)
    return layers.RMSNormalization(epsilon=epsilon, name=name)(x)
