"""LeViT (arXiv:2104.01136): attention with a bias for distances, and normalized linear layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.ir.graph import Value
from onnx2mvit.ir.layout import plain
from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, constant, multiple, p, require, scalar

from .biased_attention import biased_attention

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers, ops

NORM = p("use_bias", "bn_epsilon", "bn_momentum")


class LinearNorm(Pattern):
    """(B, N, C) → (B·N, C'): a linear layer and batch normalization of each token (section 4.1).

    In the file the tokens of all images stand in a row after it.
    """

    keras = "linear_norm"
    inner = True
    order = staticmethod(plain)

    def onnx(self, op: Ops, x: Var) -> Expr:
        y: Expr = op.Dense(x, role="linear", **p("units", "use_bias"))
        y = op.Rearrange("b n c -> (b n) c", y)
        return op.BatchNorm(y, role="bn", epsilon=p.bn_epsilon, momentum=p.bn_momentum)


def linear_norm(
    x: KerasTensor,
    units: int,
    use_bias: bool = False,
    bn_epsilon: float = 1e-5,
    bn_momentum: float = 0.9,
    *,
    name: str,
) -> KerasTensor:
    """A linear layer and batch normalization of tokens (B, N, C)."""
    x = layers.Dense(units, use_bias=use_bias, name=f"{name}_linear")(x)
    norm = {"epsilon": bn_epsilon, "momentum": bn_momentum}
    return layers.BatchNormalization(**norm, name=f"{name}_bn")(x)


class LeViTAttention(Pattern):
    """(B, N, C), and queries of some of it (B, M, C), → (B·M, C'): section 4.1, figure 5."""

    keras = "levit_attention"
    inner = True
    order = staticmethod(plain)

    def onnx(self, op: Ops, x: Var) -> Expr:
        query = op.LinearNorm(Var("queries"), role="query", **NORM)
        key, value = (op.LinearNorm(x, role=role, **NORM) for role in ("key", "value"))
        own = p("num_heads", "grid", "stride")
        y = op.BiasedAttention(query, key, value, role="bias", absolute=p._absolute, **own)
        y = op.Activation(y, role="act", activation=p.activation)
        return op.LinearNorm(y, role="proj", **NORM)

    def operands(self, m: Match) -> tuple[Value, ...]:
        return m.x, m.queries

    def params(self, m: Match) -> dict[str, Any]:
        heads = m.num_heads
        require(m.grid is None or m._absolute, "its bias goes by the signs of offsets")
        require(not {"shift", "mask_windows"} & m.bias.params.keys(), "it is masked")
        key_dim, value_dim = m.key.units // heads, m.value.units // heads
        return {"dim": m.proj.units, "key_dim": key_dim, "value_dim": value_dim}


def levit_attention(
    x: KerasTensor,
    queries: KerasTensor,
    dim: int,
    num_heads: int,
    key_dim: int,
    value_dim: int,
    activation: str = "hard_silu",
    grid: tuple[int, int] | None = None,
    stride: int = 1,
    *,
    name: str,
    **norm: Any,
) -> KerasTensor:
    """Attention of `queries` (B, M, C) to the tokens (B, N, C) of a `grid` of pixels."""
    query = linear_norm(queries, num_heads * key_dim, name=f"{name}_query", **norm)
    key = linear_norm(x, num_heads * key_dim, name=f"{name}_key", **norm)
    value = linear_norm(x, num_heads * value_dim, name=f"{name}_value", **norm)
    bias: dict[str, Any] = {"grid": grid, "stride": stride, "absolute": True}
    y = biased_attention(query, key, value, num_heads, name=f"{name}_bias", **bias)
    y = layers.Activation(activation, name=f"{name}_act")(y)
    return linear_norm(y, dim, name=f"{name}_proj", **norm)


class LeViTFeedForward(Pattern):
    """x + MLP(x) for each token, of normalized linear layers."""

    keras = "levit_feed_forward"
    inner = True
    order = staticmethod(plain)

    def onnx(self, op: Ops, x: Var) -> Expr:
        y: Expr = op.Rearrange("(b n) c -> b n c", op.LinearNorm(x, role="hidden", **NORM))
        y = op.Activation(y, role="act", activation=p.activation)
        return op.Add(x, op.Rearrange("(b n) c -> b n c", op.LinearNorm(y, role="out", **NORM)))

    def params(self, m: Match) -> dict[str, Any]:
        *_, channels = m.shape("x", 3)
        mlp_ratio = multiple(m.hidden.units, channels)
        return {"mlp_ratio": mlp_ratio}


def levit_feed_forward(
    x: KerasTensor, mlp_ratio: float = 2, activation: str = "hard_silu", *, name: str, **norm: Any
) -> KerasTensor:
    """An MLP of normalized linear layers on each token (B, N, C), added to it."""
    dim = x.shape[-1]
    y = linear_norm(x, round(dim * mlp_ratio), name=f"{name}_hidden", **norm)
    y = layers.Activation(activation, name=f"{name}_act")(y)
    y = linear_norm(y, dim, name=f"{name}_out", **norm)
    return layers.Add(name=f"{name}_add")([x, y])


HEADS = p("num_heads", "key_dim", "value_dim", "activation")
STYLE = ("activation", "mlp_ratio", "key_dim", "value_dim")


class LeViTBlock(Pattern):
    """x + attention(x), and then x + MLP(x), of tokens (B, N, C) (figure 2)."""

    keras = "levit_block"
    nested = True
    style = STYLE

    def onnx(self, op: Ops, x: Var) -> Expr:
        y: Expr = op.LeViTAttention(x, role="attn", grid=p.grid, stride=None, **HEADS, **NORM)
        y = op.Add(x, op.Rearrange("(b n) c -> b n c", y))
        own = p("mlp_ratio", "activation")
        return op.LeViTFeedForward(y, role="mlp", **own, **NORM)


def levit_block(
    x: KerasTensor,
    num_heads: int,
    key_dim: int = 16,
    value_dim: int = 32,
    grid: tuple[int, int] | None = None,
    mlp_ratio: float = 2,
    activation: str = "hard_silu",
    dropout: float = 0.0,
    *,
    name: str,
    **norm: Any,
) -> KerasTensor:
    """Attention and an MLP on the tokens (B, N, C) of a `grid` of pixels."""
    inputs = keras.Input(x.shape[1:])
    heads = {"num_heads": num_heads, "key_dim": key_dim, "value_dim": value_dim}
    dim = x.shape[-1]
    y = levit_attention(
        inputs, inputs, dim, **heads, activation=activation, grid=grid, name="attn", **norm
    )
    if dropout:
        y = layers.Dropout(dropout, name="dropout")(y)
    y = layers.Add(name="add_attn")([inputs, y])
    y = levit_feed_forward(y, mlp_ratio, activation, name="mlp", **norm)
    return keras.Model(inputs, y, name=name)(x)


class LeViTDownsample(Pattern):
    """Every second pixel attends to all, without a residual; then an MLP (section 4.1, figure 5).

    (B, N, C) → (B, N/4, C').
    """

    keras = "levit_downsample"
    nested = True
    style = STYLE

    def onnx(self, op: Ops, x: Var) -> Expr:
        def every_second(y: Expr, name: str, axis: int) -> Expr:
            start, end = scalar(f"{name}_start", 0), constant(f"{name}_end")
            step = scalar(f"{name}_step", 2)
            return op.Slice(y, start, end, scalar(f"{name}_axis", axis), step)

        y: Expr = op.Rearrange("b (r c) d -> b r c d", x, r=p._rows, c=p._columns)
        y = every_second(every_second(y, "rows", 1), "columns", 2)
        y = op.Rearrange("b r c d -> b (r c) d", y)
        own = {"dim": p.dim, "grid": p._biased, "stride": p._stride}
        y = op.LeViTAttention(x, y, role="attn", **own, **HEADS, **NORM)
        y = op.Rearrange("(b n) c -> b n c", y)
        return op.LeViTFeedForward(y, role="mlp", **p("mlp_ratio", "activation"), **NORM)

    def params(self, m: Match) -> dict[str, Any]:
        grid = (m._rows, m._columns)
        require(m._biased in (None, grid), "its bias is for another grid")
        require(m._biased is None or m._stride == 2, "its bias is for other queries")
        return {"grid": grid, **({"pairwise": True} if m._biased is None else {})}


def levit_downsample(
    x: KerasTensor,
    dim: int,
    num_heads: int,
    grid: tuple[int, int],
    key_dim: int = 16,
    value_dim: int = 64,
    pairwise: bool = False,
    mlp_ratio: float = 2,
    activation: str = "hard_silu",
    *,
    name: str,
    **norm: Any,
) -> KerasTensor:
    """Every second pixel of a `grid` in both directions attends to all of them."""
    inputs = keras.Input(x.shape[1:])
    heads = {"num_heads": num_heads, "key_dim": key_dim, "value_dim": value_dim}
    bias: dict[str, Any] = {"grid": grid, "stride": 2}
    if pairwise:
        bias = {}
    y = ops.reshape(inputs, (-1, *grid, x.shape[-1]))[:, ::2, ::2]
    queries = ops.reshape(y, (-1, y.shape[1] * y.shape[2], x.shape[-1]))
    own = {**heads, **bias, **norm}
    y = levit_attention(inputs, queries, dim, activation=activation, name="attn", **own)
    y = levit_feed_forward(y, mlp_ratio, activation, name="mlp", **norm)
    return keras.Model(inputs, y, name=name)(x)
