"""The mean of a window."""

from __future__ import annotations

from typing import Any

from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Ops, Pattern, Var, require

from .max_pooling import window


class AveragePooling2D(Pattern):
    """AveragePool without padding: (B, C, H, W) → (B, C, H', W').

    With `ceil_mode` the last window may reach over the end and is the mean of what is there.
    That is Keras's "same" where windows of two pixels stand side by side, as in ResNet-D.
    """

    layer = "AveragePooling2D"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.AveragePool(x, role="pool")

    def params(self, m: Match) -> dict[str, Any]:
        found = window(m)
        size, stride, padding = found["pool_size"], found["strides"], found["padding"]
        require(padding == 0, f"the padding is {padding}")
        ceil_mode = bool(m.pool.attrs.get("ceil_mode"))
        require(not ceil_mode or size == stride == 2, "its last window is not Keras's")
        require(
            not ceil_mode or not m.pool.attrs.get("count_include_pad"),
            "what is behind the image counts as zeros",
        )
        return {"pool_size": size, "strides": stride, "padding": "same" if ceil_mode else "valid"}
