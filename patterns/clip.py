"""CLIP's encoders (arXiv:2103.00020): of images, and of texts, which end in vectors of length 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher import (
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

from .tokens import position_embedding

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers, ops


class UnitNormalization(Pattern):
    """Vectors (…, d), or the channels of an image, over their length, which is at least 1e-12.

    arXiv:2103.00020, figure 3; torch's `functional.normalize`, or a division by the norm alone.
    Of an image it is ParseNet's (arXiv:1506.04579, section 3.3), and SSD's of its first map.
    """

    layer = "UnitNormalization"

    def onnx(self, op: Ops, x: Var) -> Expr:
        length = op.ReduceL2(x, role="length", keepdims=1)
        least = any_of(op.Clip(length, scalar("least", 1e-12)), length)
        return op.Div(x, any_of(op.Expand(least, constant("shape")), least))

    def params(self, m: Match) -> dict[str, Any]:
        rank = len(m.shape("x"))
        require(rank in (2, 3, 4), f"x has rank {rank}")
        axes = tuple(m.length.attrs.get("axes", ()))
        last = axes == ((1,) if rank == 4 else (rank - 1,))
        require(last, "it is not the length of vectors along the last axis")
        require(m.root.output.shape == m.shape("x"), "it grows")
        return {}


class TextEmbedding(Pattern):
    """(B, N) → (B, N, d): a learned vector for each token, and one for each place.

    arXiv:1706.03762, section 3.4, with places that are learned.
    """

    keras = "text_embedding"
    nested = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = op.TokenEmbedding(x, role="token_embedding", input_dim=p.vocabulary, output_dim=p.dim)
        return op.PositionEmbedding(y, role="position_embedding")


def text_embedding(x: KerasTensor, vocabulary: int, dim: int, *, name: str) -> KerasTensor:
    """(B, N) → (B, N, dim): a learned vector for each token, and one for each place."""
    inputs = keras.Input(x.shape[1:], dtype=x.dtype)
    y = layers.Embedding(vocabulary, dim, name="token_embedding")(inputs)
    y = position_embedding(y, x.shape[1], name="position_embedding")
    return keras.Model(inputs, y, name=name)(x)


class EndOfText(Pattern):
    """(B, N, d), tokens (B, N) → (B, d): the vector at the end of the text.

    arXiv:2103.00020, section 2.4. The token there has the highest number of all, or is the first
    that is called so.
    """

    keras = "end_of_text"

    def onnx(self, op: Ops, x: Var) -> Expr:
        tokens = Var("tokens")
        whole = any_of(op.Cast(op.Cast(tokens)), op.Cast(tokens), tokens)
        ends = op.Cast(op.Equal(whole, scalar("end")))
        place = op.ArgMax(any_of(ends, whole), role="place", keepdims=0, select_last_index=0)
        return op.GatherND(x, op.Rearrange("b -> b 1", place), batch_dims=1)

    def operands(self, m: Match) -> tuple[Value, ...]:
        return m.x, m.tokens

    def params(self, m: Match) -> dict[str, Any]:
        require(m.shape("tokens", 2) == m.shape("x", 3)[:2], "it is not one place for each text")
        require(m.place.attrs.get("axis") in (-1, 1), "it is no place in a text")
        dtype = m.tokens.dtype
        require(dtype is not None and dtype.kind in "iu", "its tokens are no integers")
        return {} if m.end is None else {"end": int(m.end.const.reshape(()))}


def end_of_text(
    x: KerasTensor, tokens: KerasTensor, end: int | None = None, *, name: str
) -> KerasTensor:
    """(B, N, d) → (B, d): the vector of the token with the highest number, or that is `end`."""
    if end is not None:
        tokens = ops.equal(tokens, end)
    place = ops.one_hot(ops.argmax(ops.cast(tokens, "int32"), axis=1), x.shape[1])
    return layers.Dot(1, name=name)([place, x])
