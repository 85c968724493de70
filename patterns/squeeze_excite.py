"""Squeeze and excitation: channels weighted by what the whole image holds (arXiv:1709.01507)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, p, require

from .conv import PointwiseConv, conv_bn_act
from .pooling import global_mean

if TYPE_CHECKING:
    from keras import KerasTensor, layers


GATES = ("sigmoid", "hard_sigmoid")
SQUEEZE = ("squeeze_activation", "squeeze_gate", "squeeze_bias")  # style of blocks that have one
# How blocks call the hyperparameters of the one that they have.
SQUEEZED = {
    "filters": p.squeeze,
    "activation": p.squeeze_activation,
    "gate": p.squeeze_gate,
    "use_bias": p.squeeze_bias,
}


class SqueezeExcite(Pattern):
    """arXiv:1709.01507, section 3, with 1×1 convolutions: (B, C, H, W) → (B, C, H, W).

    The mean of all pixels → 1×1 to fewer filters → activation → 1×1 to C → gate, and the input
    times that. How many filters there are is up to the network: each rounds its ratio otherwise.
    """

    keras = "squeeze_excite"
    style = ("activation", "gate", "use_bias")

    def onnx(self, op: Ops, x: Var) -> Expr:
        plain = {"batch_norm": False, **p("use_bias")}
        active = p.activation.where(lambda how: how is not None)
        y: Expr = op.GlobalMean(x, role="pool")
        y = PointwiseConv(y, role="reduce", filters=p.filters, activation=active, **plain)
        gate = p.gate.where(lambda how: how in GATES)
        y = PointwiseConv(y, role="expand", activation=gate, **plain)
        return op.Mul(x, y, role="scale")

    def params(self, m: Match) -> dict[str, Any]:
        _, channels, _, _ = m.shape("x", 4)
        require(m.expand.filters == channels, f"the gate is for {m.expand.filters} channels")
        return {}


def squeeze_excite(
    x: KerasTensor,
    filters: int,
    activation: str = "relu",
    gate: str = "sigmoid",
    use_bias: bool = True,
    *,
    name: str,
) -> KerasTensor:
    """Every channel times a gate between 0 and 1, which is worked out from the mean image."""
    y = conv_bn_act(
        global_mean(x),
        filters,
        1,
        activation=activation,
        batch_norm=False,
        use_bias=use_bias,
        name=f"{name}_reduce",
    )
    y = conv_bn_act(
        y,
        x.shape[-1],
        1,
        activation=gate,
        batch_norm=False,
        use_bias=use_bias,
        name=f"{name}_expand",
    )
    return layers.Multiply(name=f"{name}_scale")([x, y])
