"""Attention whose scores have a learned bias: that of Swin, LeViT and those that came after."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from onnx2mvit.ir.graph import Value
from onnx2mvit.ir.layout import plain
from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, p, require, scalar

from .score_bias import score_bias
from .shift_mask import shift_masked, window_masked

if TYPE_CHECKING:
    from keras import KerasTensor, layers, ops

BIAS = p("grid", "stride", "absolute")  # how it is looked up
MASK = p("shift", "windows", "mask_windows")  # of windows whose pixels attend to each other
# Tokens with the channels of all heads; normalized ones are those of all images in a row.
TOKENS = ("b t (h k)", "(b t) (h k)")
MASKS = ("ShiftMask", "WindowMask")


class BiasedAttention(Pattern):
    """(B, N, h·k), (B, M, h·k), (B, M, h·d) → (B, N, h·d): softmax(q·kᵀ/√k + bias)·v in h heads.

    arXiv:2103.14030, equation 4.
    """

    keras = "biased_attention"
    inner = True
    main = "bias"
    order = staticmethod(plain)

    def onnx(self, op: Ops, x: Var) -> Expr:
        keys: dict[str, Any] = {"h": p.num_heads, "k": p._key_dim}
        values: dict[str, Any] = {"h": p.num_heads, "k": p._value_dim}
        query = any_of(*(op.Rearrange(f"{way} -> b h t k", x, **keys) for way in TOKENS))
        key = any_of(*(op.Rearrange(f"{way} -> b h k t", Var("key"), **keys) for way in TOKENS))
        given = Var("value")
        value = any_of(*(op.Rearrange(f"{way} -> b h t k", given, **values) for way in TOKENS))
        y: Expr = op.Mul(op.MatMul(query, key), scalar("scale"))
        y = op.ScoreBias(y, role="bias", **BIAS, **MASK)
        shifted, masked = (getattr(op, kind)(y, role="mask", **MASK) for kind in MASKS)
        y = any_of(shifted, masked, y)
        y = op.MatMul(op.Softmax(y, axis=-1), value)
        return op.Rearrange("b h t k -> b t (h k)", y, **values)

    def operands(self, m: Match) -> tuple[Value, ...]:
        return m.x, m.key, m.value

    def params(self, m: Match) -> dict[str, Any]:
        scale = float(m.scale.const.reshape(()))
        require(math.isclose(scale, m._key_dim**-0.5, rel_tol=1e-5), "the scale is not 1/sqrt(d)")
        require(m.mask is None or "shift" not in m.bias.params, "it has two masks")
        return {}


def biased_attention(
    x: KerasTensor,
    key: KerasTensor,
    value: KerasTensor,
    num_heads: int,
    shift: int = 0,
    windows: tuple[int, int] | None = None,
    mask_windows: int | None = None,
    *,
    name: str,
    **bias: Any,
) -> KerasTensor:
    """Attention of the queries (B, N, h·k) to those of which key and value are, with a bias."""
    heads = (
        ops.reshape(y, (-1, y.shape[1], num_heads, y.shape[2] // num_heads))
        for y in (x, key, value)
    )
    q, k, v = heads
    scores = ops.einsum("bthk,bshk->bhts", q, k) * q.shape[-1] ** -0.5
    scores = score_bias(scores, **bias, name=name)
    if shift and windows is not None:
        scores = shift_masked(scores, shift, windows)
    if mask_windows is not None:
        scores = window_masked(scores, mask_windows, name=f"{name}_mask")
    y = ops.einsum("bhts,bshd->bthd", layers.Softmax()(scores), v)
    return ops.reshape(y, (-1, q.shape[1], v.shape[2] * v.shape[3]))


class BiasedSelfAttention(Pattern):
    """(B, N, C) → (B, N, C): biased attention of what linear layers make of the same tokens."""

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
        *_, channels = m.shape("x", 3)
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
