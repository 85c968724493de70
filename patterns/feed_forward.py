"""The MLP of a transformer's block, with its normalization before and its residual."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.ir.layout import plain
from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, multiple, p, require

from .attention import layer_scaled
from .layers import approximate_gelu

if TYPE_CHECKING:
    from keras import KerasTensor, layers

MLP = p("mlp_ratio", "activation", "epsilon")  # what a block and its MLP agree on


class FeedForward(Pattern):
    """x + MLP(norm(x)) for each token (arXiv:2010.11929, equation 3), scaled or not."""

    keras = "feed_forward"
    inner = True
    order = staticmethod(plain)

    def onnx(self, op: Ops, x: Var) -> Expr:
        y: Expr = op.LayerNorm(x, role="norm", epsilon=p.epsilon)
        y = op.Dense(y, role="hidden", use_bias=True)
        y = any_of(
            op.Activation(y, role="act", activation=p.activation),
            op.ApproximateGelu(y, role="act", activation=p.activation),
        )
        y = op.Dense(y, role="out", use_bias=True)
        return op.Add(
            x, any_of(op.LayerScale(y, role="scale"), op.PixelLayerScale(y, role="scale"), y)
        )

    def params(self, m: Match) -> dict[str, Any]:
        dim = m.x.shape[-1]
        require(m.out.units == dim, f"it makes {m.out.units} channels of {dim}")
        mlp_ratio = multiple(m.hidden.units, dim)
        return {"mlp_ratio": mlp_ratio, **({"layer_scale": True} if m.scale is not None else {})}


def feed_forward(
    x: KerasTensor,
    mlp_ratio: float = 4,
    activation: str = "gelu",
    layer_scale: bool = False,
    epsilon: float = 1e-5,
    dropout: float = 0.0,
    *,
    name: str,
) -> KerasTensor:
    """Two linear layers on what is normalized of each token or pixel, added to it."""
    dim = x.shape[-1]
    y = layers.LayerNormalization(epsilon=epsilon, name=f"{name}_norm")(x)
    y = layers.Dense(round(dim * mlp_ratio), name=f"{name}_hidden")(y)
    if activation in ("gelu_tanh", "gelu_sigmoid"):
        y = approximate_gelu(y, activation)
    else:
        y = layers.Activation(activation, name=f"{name}_act")(y)
    y = layers.Dense(dim, name=f"{name}_out")(y)
    if layer_scale:
        y = layer_scaled(y, name=f"{name}_scale")
    if dropout:
        y = layers.Dropout(dropout, name=f"{name}_dropout")(y)
    return layers.Add(name=f"{name}_add")([x, y])
