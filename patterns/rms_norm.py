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

    arXiv:1910.07467, section 4. With `by_deviation` it is by their standard deviation, of which
    the estimate is unbiased (timm's SimpleNorm). Each channel has a factor.
    """

    keras = "rms_norm"
    style = ("by_deviation", "epsilon")

    @property
    def is_leaf(self) -> bool:
        return True

    def onnx(self, op: Ops, x: Var) -> Expr:
        square: Expr = any_of(op.Pow(x, scalar("two", 2.0)), op.Mul(x, x))
        rms = over_root(op, x, op.ReduceMean(square, axes=(1,), keepdims=1))

        pixels = op.Rearrange("b c h w -> b h w c", x)
        off = op.Sub(pixels, op.ReduceMean(pixels, axes=(3,), keepdims=1))
        square = op.Mul(off, off)
        variance = any_of(
            op.ReduceMean(square, axes=(3,), keepdims=1),
            op.Rearrange("b h w -> b h w 1", op.ReduceMean(square, axes=(3,), keepdims=0)),
        )
        y = over_root(op, pixels, op.Mul(variance, scalar("correction")))
        return op.Mul(any_of(op.Rearrange("b h w c -> b c h w", y), rms), constant("gamma"))

    def params(self, m: Match) -> dict[str, Any]:
        _, channels, _, _ = m.shape("x", 4)
        gamma = m.gamma.const
        one_each = gamma.shape[-3:] == (channels, 1, 1) and gamma.size == channels
        require(one_each, "it has not one factor per channel")
        if m.correction is not None:
            found, unbiased = m.correction.const.item(), channels / (channels - 1)
            require(math.isclose(found, unbiased, rel_tol=1e-6), "its variance is no estimate")
        epsilon = shortest(m.epsilon.const.item())
        return {"by_deviation": m.correction is not None, "epsilon": epsilon}

    def weights(self, m: Match) -> dict[str, Array]:
        gamma: Array = m.gamma.const
        if m.correction is None:
            return {"scale": gamma.reshape(-1)}
        return {"kernel": gamma.reshape(1, 1, -1, 1)}


def rms_norm(
    x: KerasTensor, by_deviation: bool = False, epsilon: float = 1e-6, *, name: str
) -> KerasTensor:
    """The channels of each pixel by how large they are together, times a factor for each."""
    if by_deviation:
        unbiased = x.shape[-1] / (x.shape[-1] - 1)
        variance = ops.var(x, axis=-1, keepdims=True) * unbiased
        scale = layers.DepthwiseConv2D(1, depthwise_initializer="ones", use_bias=False, name=name)
        return scale(x * ops.rsqrt(variance + epsilon))
    return layers.RMSNormalization(epsilon=epsilon, name=name)(x)
