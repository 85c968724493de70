"""ByteFormer (arXiv:2306.00238): a transformer on the bytes of a file.

Attention is within windows of tokens, which are shifted in every second layer, and pairs of tokens
are merged. ml-cvnets hides no padding from it: its mask is made and not handed on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher import (
    Builder,
    Expr,
    Match,
    Ops,
    Pattern,
    Rule,
    Var,
    any_of,
    constant,
    optional,
    p,
    require,
    scalar,
)

from .attention import transformer_layer
from .tokens import position_embedding

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers, ops


class AssignmentByMask(Rule):
    """`x[mask] = number` at whole places is a choice.

    ScatterND(x, Transpose(NonZero(mask)), Expand(number)) → Where(mask, number, x)
    """

    needed_by = "ByteFormer: bytes that are padding"

    def onnx(self, op: Ops, x: Var) -> Expr:
        places = op.Transpose(op.NonZero(Var("mask")), perm=(1, 0))
        number = op.Expand(scalar("number"), Var("count"))
        return op.ScatterND(x, places, any_of(number, op.Reshape(number, constant("flat"))))

    def rewrite(self, m: Match, new: Builder) -> Value:
        require(m.root.attrs.get("reduction", "none") == "none", "it is no assignment")
        require(m.shape("mask") == m.shape("x"), "the mask is of other places")
        number = new.constant(m.number.const.reshape(()), "number")
        return new.like_root(m.mask, number, m.x, op="Where")


class AssignmentToNothing(Rule):
    """What is assigned to no place changes nothing.

    ScatterND(x, places of shape (0, n), values) → x
    """

    needed_by = "ByteFormer: tokens that are padding, of which there are none"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.ScatterND(x, constant("places"), Var("values"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        require(m.places.const.size == 0, "it is assigned to some places")
        value: Value = m.x
        return value


class AssignmentThatIsRead(Rule):
    """The part of a tensor that was assigned, read again, is what was assigned.

    Slice(Transpose(ScatterND(y, [[0], …, [n - 1]], x), perm), 0 … n along the axis of places)
    → Transpose(x, perm)
    """

    needed_by = "ByteFormer: tokens without what fills their last window"

    def onnx(self, op: Ops, x: Var) -> Expr:
        assigned = op.ScatterND(Var("whole"), constant("places"), x, role="assigned")
        return op.Slice(op.Transpose(assigned, role="moved"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        places, part, perm = m.places.const, m.root.attrs, m.moved.attrs["perm"]
        require(m.assigned.attrs.get("reduction", "none") == "none", "it is no assignment")
        first = np.arange(len(places)).reshape(-1, 1)
        require(np.array_equal(places, first), "it is not assigned to the first places")
        same = part.get("start") == 0 and part.get("end") == len(places)
        require(same and perm[part["axis"]] == 0, "another part is read")
        return new.Transpose(m.x, perm=perm)


class MeanByCount(Rule):
    """A sum of all tokens over their number is their mean.

    Div(ReduceSum(x, axes=(1,)), N) | Mul(ReduceSum(x, axes=(1,)), 1/N) → ReduceMean(x, axes=(1,))
    where N may be one for each image
    """

    needed_by = "ByteFormer: its number of tokens that are no padding"

    def onnx(self, op: Ops, x: Var) -> Expr:
        whole = op.ReduceSum(x, role="sum", axes=(1,))
        return any_of(op.Div(whole, constant("count")), op.Mul(whole, scalar("share")))

    def rewrite(self, m: Match, new: Builder) -> Value:
        count = 1 / m.share.const if m.count is None else m.count.const
        require(np.allclose(count, m.shape("x", 3)[1], rtol=1e-6), "it is another number")
        require(m.shape("sum") == m.root.output.shape, "it grows")
        return new.like_root(m.x, op="ReduceMean", **m.sum.attrs)


class ByteEmbedding(Pattern):
    """(B, bytes) → (B, N, d): bytes as learned vectors, fewer of them by a convolution, and places.

    arXiv:2306.00238, section 3.2. Padding is -1, and a token of its own.
    """

    keras = "byte_embedding"
    nested = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        tokens = op.Where(op.Equal(x, scalar("padded", -1)), scalar("padding"), x)
        y: Expr = op.TokenEmbedding(
            tokens, role="embedding", input_dim=p.vocabulary, output_dim=p.dim
        )
        own = {"filters": p.dim, "kernel_size": p.kernel_size, "strides": p.strides}
        y = any_of(op.Conv1D(y, role="conv", use_bias=False, **own), y)
        return op.PositionEmbedding(y, role="position_embedding")

    def params(self, m: Match) -> dict[str, Any]:
        padding = int(m.padding.const.reshape(()))
        require(padding == m.vocabulary - 1, "its padding is not the last token")
        return {"kernel_size": m.kernel_size, "strides": m.strides or 1}


def byte_embedding(
    x: KerasTensor,
    vocabulary: int,
    dim: int,
    kernel_size: int | None = None,
    strides: int = 1,
    *,
    name: str,
) -> KerasTensor:
    """(B, bytes) → (B, N, dim): bytes, -1 for padding, as vectors, of which some become one."""
    inputs = keras.Input(x.shape[1:], dtype=x.dtype)
    y = ops.where(ops.equal(inputs, -1), vocabulary - 1, inputs)
    y = layers.Embedding(vocabulary, dim, name="embedding")(y)
    if kernel_size is not None:
        y = layers.Conv1D(dim, kernel_size, strides, use_bias=False, name="conv")(y)
    y = position_embedding(y, y.shape[1], name="position_embedding")
    return keras.Model(inputs, y, name=name)(x)


class WindowedTransformerLayer(Pattern):
    """(B, N, d) → (B, N, d): a transformer layer within windows of tokens, shifted or not.

    arXiv:2306.00238, section 3.2. The last window is filled with zeros.
    """

    keras = "windowed_transformer_layer"
    nested = True
    style = ("window_size", "activation", "epsilon")

    def onnx(self, op: Ops, x: Var) -> Expr:
        filled = op.Pad(x, constant("pads"), optional("number"), role="filled", mode="constant")
        tokens = any_of(filled, x)
        rolled = any_of(op.Roll(tokens, axes=(1,), shifts=p._there), tokens)
        windows = op.Rearrange("b (n w) d -> (b n) w d", rolled, role="windows", w=p._window)
        own = p("num_heads", "mlp_ratio", "activation", "attention_bias", "epsilon")
        plain = {"causal": None, "layer_scale": None}
        y: Expr = op.TransformerLayer(any_of(windows, rolled), role="layer", **own, **plain)
        y = any_of(op.Rearrange("(b n) w d -> b (n w) d", y, w=p._window), y)
        y = any_of(op.Roll(y, role="back", axes=(1,), shifts=p._back), y)
        return any_of(op.Slice(y, role="cut", axis=1, start=0), y)

    def params(self, m: Match) -> dict[str, Any]:
        _, tokens, _ = m.shape("x", 3)
        _, size, _ = m.shape("layer", 3)
        whole = -(-tokens // size) * size
        (there,), (back,) = m._there or (0,), m._back or (0,)
        require(m.filled is not None or m.windows is not None or there != 0, "it has one window")
        require((there + back) % whole == 0, "it is not rolled back")
        check_filled(m, whole - tokens)
        require(m.root.output.shape == m.x.shape, "it gives other tokens")
        return {"window_size": size, "shift": -there % whole}


def windowed_transformer_layer(
    x: KerasTensor,
    num_heads: int,
    window_size: int = 128,
    shift: int = 0,
    activation: str = "gelu",
    epsilon: float = 1e-5,
    dropout: float = 0.0,
    *,
    name: str,
    **layer: Any,
) -> KerasTensor:
    """A transformer layer within windows of tokens, which are shifted by so many or not."""
    inputs = keras.Input(x.shape[1:])
    _, tokens, dim = inputs.shape
    y = layers.ZeroPadding1D((0, -tokens % window_size), name="pad")(inputs)
    whole = y.shape[1]
    if shift:
        y = ops.roll(y, -shift, axis=1)
    y = transformer_layer(
        ops.reshape(y, (-1, window_size, dim)),
        num_heads,
        activation=activation,
        epsilon=epsilon,
        dropout=dropout,
        name="layer",
        **layer,
    )
    y = ops.reshape(y, (-1, whole, dim))
    if shift:
        y = ops.roll(y, shift, axis=1)
    return keras.Model(inputs, y[:, :tokens], name=name)(x)


class TokenMerging(Pattern):
    """(B, N, d) → (B, ⌈N/w⌉, d): w neighbours become one token (arXiv:2306.00238, section 3.2).

    A linear layer on the channels of all of them, without a bias, and a normalization.
    """

    keras = "token_merging"
    nested = True
    style = ("window", "epsilon")

    def onnx(self, op: Ops, x: Var) -> Expr:
        filled = op.Pad(x, constant("pads"), optional("number"), role="filled", mode="constant")
        windows = op.Gather(any_of(filled, x), constant("places", rank=2), role="windows", axis=1)
        y: Expr = op.Rearrange("b n w d -> b n (d w)", windows, w=p.window)
        y = op.Dense(y, role="reduction", use_bias=False)
        return op.LayerNorm(y, role="norm", epsilon=p.epsilon)

    def params(self, m: Match) -> dict[str, Any]:
        _, tokens, dim = m.shape("x", 3)
        count = -(-tokens // m.window)
        require(m.reduction.units == dim, f"it makes {m.reduction.units} channels of {dim}")
        places = np.arange(count * m.window).reshape(count, m.window)
        require(np.array_equal(m.places.const, places), "its windows do not follow each other")
        check_filled(m, places.size - tokens)
        return {}


def check_filled(m: Match, more: int) -> None:
    """Requires that tokens are filled up with so many zeros at the end, if they are."""
    if m.filled is not None:
        end = m.pads.const.tolist() == [0, 0, 0, 0, more, 0]
        require(end, "it does not fill the last window")
        require(m.number is None or not m.number.const.any(), "it fills with other numbers")


def token_merging(
    x: KerasTensor, window: int = 2, epsilon: float = 1e-5, *, name: str
) -> KerasTensor:
    """So many neighbours become one token, the last filled with zeros."""
    inputs = keras.Input(x.shape[1:])
    _, tokens, dim = inputs.shape
    y = layers.ZeroPadding1D((0, -tokens % window), name="pad")(inputs)
    y = layers.Reshape((-1, window, dim), name="windows")(y)
    y = layers.Permute((1, 3, 2), name="channels")(y)
    y = layers.Reshape((-1, dim * window), name="joined")(y)
    y = layers.Dense(dim, use_bias=False, name="reduction")(y)
    y = layers.LayerNormalization(epsilon=epsilon, name="norm")(y)
    return keras.Model(inputs, y, name=name)(x)
