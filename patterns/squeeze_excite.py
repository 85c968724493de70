"""Squeeze and excitation: channels weighted by what the whole image holds (arXiv:1709.01507)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, require

from .conv import FULL, conv_bn_act
from .pooling import global_mean

if TYPE_CHECKING:
    from keras import KerasTensor, layers


GATES = ("sigmoid", "hard_sigmoid")
SQUEEZE = ("squeeze_activation", "squeeze_gate", "squeeze_bias")  # style of blocks that have one


class SqueezeExcite(Pattern):
    """arXiv:1709.01507, section 3, with 1×1 convolutions: (B, C, H, W) → (B, C, H, W).

    The mean of all pixels → 1×1 to fewer filters → activation → 1×1 to C → gate, and the input
    times that. How many filters there are is up to the network: each rounds its ratio otherwise.
    """

    keras = "squeeze_excite"
    style = ("activation", "gate", "use_bias")

    def onnx(self, op: Ops, x: Var) -> Expr:
        plain = {"kernel_size": 1, "strides": 1, "batch_norm": False, **FULL}
        y = op.GlobalMean(x, role="pool")
        y = op.ConvBnAct(y, role="reduce", activation=lambda how: how is not None, **plain)
        y = op.ConvBnAct(y, role="expand", activation=lambda how: how in GATES, **plain)
        return op.Mul(x, y, role="scale")

    def params(self, m: Match) -> dict[str, Any]:
        _, channels, _, _ = m.shape("x", 4)
        require(m.expand.filters == channels, f"the gate is for {m.expand.filters} channels")
        return {
            "filters": m.reduce.filters,
            "activation": m.reduce.activation,
            "gate": m.expand.activation,
            **m.common(("reduce", "expand"), "use_bias"),
        }


def squeeze_params(m: Match) -> dict[str, Any]:
    """The hyperparameters of a block with squeeze and excitation as `m.se`, if it has that."""
    if m.se is None:
        return {}
    return {
        "squeeze": m.se.filters,
        "squeeze_activation": m.se.activation,
        "squeeze_gate": m.se.gate,
        "squeeze_bias": m.se.use_bias,
    }


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
