"""The way around a residual block, as patterns of such blocks need it."""

from __future__ import annotations

from typing import Any

from onnx2mvit.matcher import Match
from onnx2mvit.pattern import Expr, Ops, Var, any_of, maybe, require

from .conv_bn_act import FULL


def projection(op: Ops, x: Var) -> Expr:
    """The input, or where the shape changes a 1×1 convolution of it (option B in the paper).

    ResNet-D (arXiv:1812.01187, section 4.2) takes the mean of 2×2 pixels before that.
    """
    y = maybe(op.AveragePooling2D(x, role="shortcut_pool"))
    return any_of(op.ConvBnAct(y, role="shortcut", kernel_size=1, activation=None, **FULL), x)


def read_projection(m: Match, filters: int, strides: int) -> dict[str, Any]:
    """The hyperparameters of the shortcut of a block with so many filters and these strides."""
    _, channels, _, _ = m.shape("x", 4)
    if m.shortcut is None:
        require(strides == 1 and channels == filters, "its shape changes without a projection")
        return {}
    require(strides > 1 or channels != filters, "its input is projected where it need not be")
    require(m.shortcut.filters == filters, f"its shortcut makes {m.shortcut.filters} channels")
    pool = m.shortcut_pool
    size, step = (pool.pool_size, pool.strides) if pool is not None else (1, m.shortcut.strides)
    require(step == strides, f"its shortcut has strides {step}, not {strides}")
    require(pool is None or size == step == 2, f"its shortcut is the mean of {size}×{size} pixels")
    require(pool is None or m.shortcut.strides == 1, "its shortcut has strides twice")
    return {"shortcut_pool": pool is not None} if strides > 1 else {}
