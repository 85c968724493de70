"""The mean over all pixels, as an image of one pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Ops, Pattern, Var

if TYPE_CHECKING:
    from keras import KerasTensor, ops


class GlobalMean(Pattern):
    """ReduceMean over height and width that keeps them: (B, C, H, W) → (B, C, 1, 1).

    Images are larger here than before a classifier: Keras's GlobalAveragePooling2D would be off
    by 1e-5 at 112×112 where a channel is nearly constant (measured on TensorFlow 2.21, CPU).
    """

    keras = "global_mean"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.ReduceMean(x, axes=(2, 3), keepdims=1)

    def params(self, m: Match) -> dict[str, Any]:
        m.shape("x", 4)
        return {}


def global_mean(x: KerasTensor) -> KerasTensor:
    """The mean of all pixels, by rows first: one sum over all of them would lose digits."""
    return ops.mean(ops.mean(x, axis=2, keepdims=True), axis=1, keepdims=True)
