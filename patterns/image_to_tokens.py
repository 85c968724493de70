"""From an image to a sequence: every place of a feature map becomes a token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Ops, Pattern, Var, any_of, require

if TYPE_CHECKING:
    from keras import KerasTensor, layers


class ImageToTokens(Pattern):
    """(B, d, H, W) → (B, H·W, d), row by row."""

    keras = "image_to_tokens"

    def onnx(self, op: Ops, x: Var) -> Expr:
        channels_first = op.Transpose(op.Reshape(x, role="flat"), perm=(0, 2, 1), role="tokens")
        channels_last = op.Reshape(op.Transpose(x, perm=(0, 2, 3, 1)), role="tokens")
        return any_of(channels_first, channels_last)

    def params(self, m: Match) -> dict[str, Any]:
        batch, dim, height, width = m.shape("x", 4)
        places = height * width
        flat = m.flat is None or m.flat.output.shape == (batch, dim, places)
        require(flat and m.tokens.output.shape == (batch, places, dim), "a token is not one place")
        return {}


def image_to_tokens(x: KerasTensor) -> KerasTensor:
    """(B, H, W, d) → (B, H·W, d): a token for every place, row by row."""
    return layers.Reshape((-1, x.shape[-1]))(x)
