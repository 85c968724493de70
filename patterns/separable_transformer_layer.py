"""MobileViTv2's transformer layer: pre-norm, with separable self-attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.base.numbers import ratio
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Ops, Pattern, Var, require

from .conv_bn_act import conv_bn_act
from .separable_self_attention import LINEAR, separable_self_attention

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers


class SeparableTransformerLayer(Pattern):
    """x + attention(norm(x)), then x + mlp(norm(x)), on (B, d, P, N) (arXiv:2206.02680, 3.2).

    The norms have one group: they are over pixels, patches and channels together.
    """

    keras = "separable_transformer_layer"
    nested = True
    style = ("activation", "use_bias", "epsilon")

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = op.GroupNorm(x, role="norm_before", groups=1)
        y = op.SeparableSelfAttention(y, role="attention")
        attended = op.Add(y, x)
        y = op.GroupNorm(attended, role="norm_after", groups=1)
        y = op.ConvBnAct(y, role="mlp_in", **LINEAR)
        y = op.ConvBnAct(y, role="mlp_out", activation=None, **LINEAR)
        return op.Add(y, attended)

    def params(self, m: Match) -> dict[str, Any]:
        _, dim, _, _ = m.shape("x", 4)
        mlp_ratio = ratio(m.mlp_in.filters, dim)
        require(m.mlp_out.filters == dim, f"mlp_out makes {m.mlp_out.filters} channels of {dim}")
        require(mlp_ratio is not None, f"{m.mlp_in.filters} is no multiple of {dim} channels")
        require(m.mlp_in.activation is not None, "it has no activation")
        return {
            "mlp_ratio": mlp_ratio,
            "activation": m.mlp_in.activation,
            **m.common(("attention", "mlp_in", "mlp_out"), "use_bias"),
            **m.common(("norm_before", "norm_after"), "epsilon"),
        }


def separable_transformer_layer(
    x: KerasTensor,
    mlp_ratio: float = 2,
    activation: str = "silu",
    use_bias: bool = True,
    epsilon: float = 1e-5,
    dropout: float = 0.0,
    *,
    name: str,
) -> KerasTensor:
    """A pre-norm transformer layer on patches (batch, pixels, patches, channels)."""
    inputs = keras.Input(x.shape[1:])
    dim = x.shape[-1]
    y = layers.GroupNormalization(1, epsilon=epsilon, name="norm_before")(inputs)
    y = separable_self_attention(y, use_bias=use_bias, name="attention")
    if dropout:
        y = layers.Dropout(dropout, name="dropout_attention")(y)
    x1 = layers.Add(name="add_attention")([inputs, y])
    y = layers.GroupNormalization(1, epsilon=epsilon, name="norm_after")(x1)
    y = conv_bn_act(
        y,
        round(dim * mlp_ratio),
        1,
        activation=activation,
        batch_norm=False,
        use_bias=use_bias,
        name="mlp_in",
    )
    y = conv_bn_act(y, dim, 1, activation=None, batch_norm=False, use_bias=use_bias, name="mlp_out")
    if dropout:
        y = layers.Dropout(dropout, name="dropout_mlp")(y)
    y = layers.Add(name="add_mlp")([x1, y])
    return keras.Model(inputs, y, name=name)(x)
