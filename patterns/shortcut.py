"""The way around a residual block, as patterns of such blocks need it."""

from __future__ import annotations

from typing import Any

from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Ops, Var, any_of, require

from .conv_bn_act import FULL


def projection(op: Ops, x: Var) -> Expr:
    """The input, or where the shape changes a 1×1 convolution of it (option B in the paper).

    ResNet-D (arXiv:1812.01187, section 4.2) takes the mean of 2×2 pixels before that, which is
    the mean of all where there are no more.
    """
    pool = op.AveragePooling2D(x, role="shortcut_pool")
    y = any_of(pool, op.GlobalMean(x, role="shortcut_mean"), x)
    return any_of(op.ConvBnAct(y, role="shortcut", kernel_size=1, activation=None, **FULL), x)


def read_projection(m: Match, filters: int, strides: int) -> dict[str, Any]:
    """The hyperparameters of the shortcut of a block with so many filters and these strides."""
    _, channels, height, _ = m.shape("x", 4)
    if m.shortcut is None:
        require(strides == 1 and channels == filters, "its shape changes without a projection")
        return {}
    require(strides > 1 or channels != filters, "its input is projected where it need not be")
    require(m.shortcut.filters == filters, f"its shortcut makes {m.shortcut.filters} channels")
    size, step, pooled = 1, m.shortcut.strides, True
    if m.shortcut_pool is not None:
        size, step = m.shortcut_pool.pool_size, m.shortcut_pool.strides
    elif m.shortcut_mean is not None:
        size = step = height
    else:
        pooled = False
    require(step == strides, f"its shortcut has strides {step}, not {strides}")
    require(not pooled or size == step == 2, f"its shortcut is the mean of {size}×{size} pixels")
    require(not pooled or m.shortcut.strides == 1, "its shortcut has strides twice")
    return {"shortcut_pool": pooled} if strides > 1 else {}
