"""Attention whose scores have a learned bias: that of Swin, LeViT and those that came after."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.ir.graph import Value
from onnx2mvit.ir.layout import plain
from onnx2mvit.matcher import (
    Builder,
    Expr,
    Match,
    Ops,
    Pattern,
    Rule,
    Var,
    any_of,
    p,
    require,
    scalar,
)

from .conv import PointwiseConv, conv_bn_act
from .score_bias import score_bias
from .shift_mask import shift_masked, window_masked

if TYPE_CHECKING:
    from keras import KerasTensor, layers, ops

BIAS = p("grid", "stride", "absolute")  # how it is looked up
MASK = p("shift", "windows", "mask_windows")  # of windows whose pixels attend to each other
# Tokens, or pixels, with the channels of all heads; normalized tokens of all images are in a row.
PIXELS: dict[str, Any] = {"r": p._rows, "c": p._columns}
TOKENS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("b t (h k)", "t", {}),
    ("(b t) (h k)", "t", {}),
    ("b (h k) r c", "(r c)", {}),
    ("b r c (h k)", "(r c)", PIXELS),
)
TALK: dict[str, Any] = {"activation": None, "batch_norm": False, "use_bias": True}
MASKS = ("ShiftMask", "WindowMask")
SWAPPED = ((0, 2, 1), (0, 1, 3, 2))


class WeightsBeforeValues(Rule):
    """The weights of attention stand before the values, as for tokens.

    MatMul(v, Transpose(w)), w = Softmax(…) → Transpose(MatMul(w, Transpose(v)))
    """

    needed_by = "LeViT and EfficientViT on images (B, C, H, W)"

    def onnx(self, op: Ops, x: Var) -> Expr:
        weights = op.Softmax(Var("scores"), role="weights", axis=-1)
        return op.MatMul(x, op.Transpose(weights, role="turned", perm=SWAPPED.__contains__))

    def rewrite(self, m: Match, new: Builder) -> Value:
        perm = m.turned.attrs["perm"]
        m.shape("x", len(perm))
        weighed = new.MatMul(m.weights.output, new.Transpose(m.x, perm=perm))
        return new.like_root(weighed, op="Transpose", perm=perm)


class BiasedAttention(Pattern):
    """(B, N, h·k), (B, M, h·k), (B, M, h·d) → (B, N, h·d): softmax(q·kᵀ/√k + bias)·v in h heads.

    arXiv:2103.14030, equation 4. Talking heads (arXiv:2003.02436) are mixed before the softmax and
    after it. All may be images, as (B, h·k, H, W) or (B, H, W, h·k), too.
    """

    keras = "biased_attention"
    inner = True
    main = "bias"
    order = staticmethod(plain)

    def onnx(self, op: Ops, x: Var) -> Expr:
        keys: dict[str, Any] = {"h": p.num_heads, "k": p._key_dim}
        values: dict[str, Any] = {"h": p.num_heads, "k": p._value_dim}
        q, k, v = x, Var("key"), Var("value")
        query = any_of(*(op.Rearrange(f"{y} -> b h {t} k", q, **keys, **s) for y, t, s in TOKENS))
        key = any_of(*(op.Rearrange(f"{y} -> b h k {t}", k, **keys, **s) for y, t, s in TOKENS))
        value = any_of(*(op.Rearrange(f"{y} -> b h {t} k", v, **values, **s) for y, t, s in TOKENS))
        y: Expr = op.Mul(op.MatMul(query, key), scalar("scale"))
        y = op.ScoreBias(y, role="bias", **BIAS, **MASK)
        shifted, masked = (getattr(op, kind)(y, role="mask", **MASK) for kind in MASKS)
        y = any_of(shifted, masked, y)
        y = op.Softmax(any_of(PointwiseConv(y, role="talk_before", **TALK), y), axis=-1)
        y = op.MatMul(any_of(PointwiseConv(y, role="talk_after", **TALK), y), value)
        tokens = op.Rearrange("b h t k -> b t (h k)", y, **values)
        image = op.Rearrange("b h (r c) k -> b (h k) r c", y, **values)
        pixels = op.Rearrange("b h (r c) k -> b r c (h k)", y, **values, **PIXELS)
        return any_of(tokens, image, pixels)

    def operands(self, m: Match) -> tuple[Value, ...]:
        return m.x, m.key, m.value

    def params(self, m: Match) -> dict[str, Any]:
        scale = float(m.scale.const.reshape(()))
        require(math.isclose(scale, m._key_dim**-0.5, rel_tol=1e-5), "the scale is not 1/sqrt(d)")
        require(m.mask is None or "shift" not in m.bias.params, "it has two masks")
        talk = [block.filters for block in (m.talk_before, m.talk_after) if block is not None]
        require(talk in ([], [m.num_heads] * 2), "its heads are not mixed before and after")
        return {"talking_heads": True} if talk else {}


def biased_attention(
    x: KerasTensor,
    key: KerasTensor,
    value: KerasTensor,
    num_heads: int,
    shift: int = 0,
    windows: tuple[int, int] | None = None,
    mask_windows: int | None = None,
    talking_heads: bool = False,
    *,
    name: str,
    **bias: Any,
) -> KerasTensor:
    """Attention of the queries (B, N, h·k) to those of which key and value are, with a bias.

    They are tokens, or the pixels of an image.
    """
    heads = (
        ops.reshape(y, (-1, int(np.prod(y.shape[1:-1])), num_heads, y.shape[-1] // num_heads))
        for y in (x, key, value)
    )
    q, k, v = heads
    scores = ops.einsum("bthk,bshk->bhts", q, k) * q.shape[-1] ** -0.5
    scores = score_bias(scores, **bias, name=name)
    if shift and windows is not None:
        scores = shift_masked(scores, shift, windows)
    if mask_windows is not None:
        scores = window_masked(scores, mask_windows, name=f"{name}_mask")
    if talking_heads:
        scores = mixed_heads(scores, name=f"{name}_talk_before")
    weights = layers.Softmax()(scores)
    if talking_heads:
        weights = mixed_heads(weights, name=f"{name}_talk_after")
    y = ops.einsum("bhts,bshd->bthd", weights, v)
    return ops.reshape(y, (-1, q.shape[1], v.shape[2] * v.shape[3]))


def mixed_heads(x: KerasTensor, *, name: str) -> KerasTensor:
    """(B, h, N, M) → (B, h, N, M): a 1×1 convolution over the heads."""
    alike: dict[str, Any] = {"activation": None, "batch_norm": False, "use_bias": True}
    y = conv_bn_act(ops.transpose(x, (0, 2, 3, 1)), x.shape[1], 1, **alike, name=name)
    return ops.transpose(y, (0, 3, 1, 2))


class BiasedSelfAttention(Pattern):
    """(B, N, C) → (B, N, C): biased attention of what linear layers make of the same tokens.

    They may be the pixels of windows (B, H, W, C).
    """

    keras = "biased_self_attention"
    inner = True
    order = staticmethod(plain)

    def onnx(self, op: Ops, x: Var) -> Expr:
        query, key, value = (
            op.Dense(x, role=role, use_bias=p.qkv_bias) for role in ("query", "key", "value")
        )
        y = op.BiasedAttention(query, key, value, role="bias", **p("num_heads"), **BIAS, **MASK)
        return op.Dense(y, role="proj", use_bias=True)

    def params(self, m: Match) -> dict[str, Any]:
        *places, channels = m.shape("x")
        require(len(places) in (2, 3), "it is of no tokens")
        require(m.proj.units == channels, "it changes the channels")
        keys, values = m.query.units // m.num_heads, m.value.units // m.num_heads
        return {
            **({"key_dim": keys} if keys * m.num_heads != channels else {}),
            **({"value_dim": values} if values != keys else {}),
        }


def biased_self_attention(
    x: KerasTensor,
    num_heads: int,
    key_dim: int | None = None,
    value_dim: int | None = None,
    qkv_bias: bool = True,
    *,
    name: str,
    **bias: Any,
) -> KerasTensor:
    """Attention among tokens (B, N, C), with a learned bias on the scores.

    The channels of a head are C / num_heads unless `key_dim` or `value_dim` say otherwise.
    """
    dim = x.shape[-1]
    keys = key_dim or dim // num_heads
    values = value_dim or keys
    query = layers.Dense(num_heads * keys, use_bias=qkv_bias, name=f"{name}_query")(x)
    key = layers.Dense(num_heads * keys, use_bias=qkv_bias, name=f"{name}_key")(x)
    value = layers.Dense(num_heads * values, use_bias=qkv_bias, name=f"{name}_value")(x)
    y = biased_attention(query, key, value, num_heads, name=f"{name}_bias", **bias)
    return layers.Dense(dim, name=f"{name}_proj")(y)
