"""A pre-norm transformer layer: x + attention(norm(x)), then x + mlp(norm(x))."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.base.numbers import ratio
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Ops, Pattern, Var, any_of, require

from .approximate_gelu import approximate_gelu

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers


class TransformerLayer(Pattern):
    """The encoder layer of ViT (arXiv:2010.11929, section 3.1), DeiT and MobileViT.

    DeiT III (arXiv:2204.07118) scales each branch by LayerScale.
    """

    keras = "transformer_layer"
    nested = True
    style = ("activation", "attention_bias", "epsilon")

    def onnx(self, op: Ops, x: Var) -> Expr:
        y: Expr = op.LayerNorm(x, role="norm_before")
        y = op.MultiHeadAttention(y, role="attention")
        y = any_of(y, op.LayerScale(y, role="scale_attention"))
        attended = op.Add(y, x)
        y = op.LayerNorm(attended, role="norm_after")
        y = op.Dense(y, role="mlp_in", use_bias=True)
        y = any_of(op.Activation(y, role="act"), op.ApproximateGelu(y, role="approximate"))
        y = op.Dense(y, role="mlp_out", use_bias=True)
        y = any_of(y, op.LayerScale(y, role="scale_mlp"))
        return op.Add(y, attended)

    def params(self, m: Match) -> dict[str, Any]:
        dim = m.x.shape[-1]
        mlp_ratio = ratio(m.mlp_in.units, dim)
        require(m.mlp_out.units == dim, f"mlp_out makes {m.mlp_out.units} channels of {dim}")
        require(mlp_ratio is not None, f"{m.mlp_in.units} is no multiple of {dim} channels")
        scaled = m.scale_attention is not None
        require(scaled == (m.scale_mlp is not None), "one of its branches alone is scaled")
        return {
            "num_heads": m.attention.num_heads,
            "mlp_ratio": mlp_ratio,
            "activation": m.act.activation if m.act is not None else None,
            **(m.approximate.params if m.approximate is not None else {}),
            "attention_bias": m.attention.use_bias,
            **({"layer_scale": True} if scaled else {}),
            **m.common(("norm_before", "norm_after"), "epsilon"),
        }


def transformer_layer(
    x: KerasTensor,
    num_heads: int,
    mlp_ratio: float = 2,
    activation: str | None = "silu",
    gelu: str | None = None,
    attention_bias: bool = True,
    layer_scale: bool = False,
    epsilon: float = 1e-5,
    dropout: float = 0.0,
    *,
    name: str,
) -> KerasTensor:
    """A pre-norm transformer layer on tokens (batch, tokens, channels)."""
    inputs = keras.Input(x.shape[1:])
    dim = x.shape[-1]
    y = layers.LayerNormalization(epsilon=epsilon, name="norm_before")(inputs)
    attention = layers.MultiHeadAttention(
        num_heads, dim // num_heads, use_bias=attention_bias, name="attention"
    )
    y = attention(y, y)
    if layer_scale:
        y = layers.EinsumDense(
            "btd,d->btd",
            (None, dim),
            kernel_initializer=keras.initializers.Constant(1e-4),
            name="scale_attention",
        )(y)
    if dropout:
        y = layers.Dropout(dropout, name="dropout_attention")(y)
    x1 = layers.Add(name="add_attention")([inputs, y])
    y = layers.LayerNormalization(epsilon=epsilon, name="norm_after")(x1)
    y = layers.Dense(round(dim * mlp_ratio), name="mlp_in")(y)
    if gelu:
        y = approximate_gelu(y, gelu)
    if activation:
        y = layers.Activation(activation, name="act")(y)
    y = layers.Dense(dim, name="mlp_out")(y)
    if layer_scale:
        y = layers.EinsumDense(
            "btd,d->btd",
            (None, dim),
            kernel_initializer=keras.initializers.Constant(1e-4),
            name="scale_mlp",
        )(y)
    if dropout:
        y = layers.Dropout(dropout, name="dropout_mlp")(y)
    y = layers.Add(name="add_mlp")([x1, y])
    return keras.Model(inputs, y, name=name)(x)
