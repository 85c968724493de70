"""From tokens to one vector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Ops, Pattern, Var, any_of, maybe, require

if TYPE_CHECKING:
    from keras import KerasTensor, ops


class TokenPooling(Pattern):
    """(B, N, d) → (B, d): one token, or the mean of those that are not before the patches."""

    keras = "token_pooling"

    def onnx(self, op: Ops, x: Var) -> Expr:
        patches = maybe(op.Slice(x, role="patches", axis=1))
        return any_of(
            op.Select(x, role="token", axis=1),
            op.ReduceMean(patches, role="mean", axes=(1,), keepdims=0),
        )

    def params(self, m: Match) -> dict[str, Any]:
        _, tokens, _ = m.shape("x", 3)
        if m.token is not None:
            index = m.token.attrs["index"]
            # Reading counts from the front; at another size the last token is another.
            return {"pooling": "token", "start": index if index < tokens - 1 else -1}
        part = m.patches.attrs if m.patches is not None else {"start": 0, "end": tokens}
        require(part.get("end") == tokens, "it leaves out the last token")
        return {"pooling": "mean", "start": part["start"]}


def token_pooling(x: KerasTensor, pooling: str = "token", start: int = 0) -> KerasTensor:
    """(B, N, d) → (B, d): the token at `start`, or the mean from there on."""
    return x[:, start] if pooling == "token" else ops.mean(x[:, start:], axis=1)
