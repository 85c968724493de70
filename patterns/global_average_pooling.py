"""The mean over all pixels."""

from __future__ import annotations

from typing import Any

from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Ops, Pattern, Var


class GlobalAveragePooling2D(Pattern):
    """ReduceMean over height and width: (B, C, H, W) → (B, C)."""

    layer = "GlobalAveragePooling2D"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.ReduceMean(x, axes=(2, 3), keepdims=0)

    def params(self, m: Match) -> dict[str, Any]:
        m.shape("x", 4)
        return {}
