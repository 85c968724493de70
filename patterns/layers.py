"""Layers of one operator: what other blocks are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.ir.keras_layers import (
    ACTIVATIONS,
    BATCH_NORM_WEIGHTS,
    batch_norm,
    epsilon,
    is_exact_gelu,
    is_hard_sigmoid,
)
from onnx2mvit.ir.layout import Order, plain
from onnx2mvit.matcher import (
    Array,
    Expr,
    Match,
    Ops,
    Pattern,
    Var,
    any_of,
    constant,
    require,
    scalar,
)

if TYPE_CHECKING:
    from keras import KerasTensor, ops


FUNCTIONS = ("silu", "relu", "relu6", "gelu", "hard_silu", "hard_sigmoid", "sigmoid", "tanh")


def goes_over_the_last(order: Order) -> bool:
    """True if the last axis of the file is the last, where layers take the channels."""
    return order[-1] == len(order) - 1


class Activation(Pattern):
    """A function of each element. Keras: `Activation`, by the function's Keras name.

    * silu: x · sigmoid(x), written as Sigmoid and Mul
    * relu6: Clip from 0 to 6
    * gelu: the exact one (operator version 20)
    * hard_silu: HardSwish (operator version 14)
    * hard_sigmoid: HardSigmoid of slope 1/6 and offset 1/2, which is relu6(x + 3) / 6
    """

    layer = "Activation"

    def keeps(self, order: Order) -> bool:
        return True

    def onnx(self, op: Ops, x: Var) -> Expr:
        return any_of(
            op.Mul(x, op.Sigmoid(x, role="silu")),
            op.Relu(x, role=ACTIVATIONS["Relu"]),
            op.Clip(x, scalar("low", 0.0), scalar("high", 6.0), role="relu6"),
            op.Gelu(x, role="gelu", approximate=is_exact_gelu),
            op.HardSwish(x, role=ACTIVATIONS["HardSwish"]),
            op.HardSigmoid(x, role="hard_sigmoid", alpha=is_hard_sigmoid, beta=0.5),
            op.Sigmoid(x, role=ACTIVATIONS["Sigmoid"]),
            op.Tanh(x, role=ACTIVATIONS["Tanh"]),
        )

    def params(self, m: Match) -> dict[str, Any]:
        function = next(role for role in FUNCTIONS if m.bound[role] is not None)
        require(m.x.const is None, "it is applied to a constant")
        return {"activation": function}


class ApproximateGelu(Pattern):
    """Approximations of GELU (arXiv:1606.08415, section 2), which Keras has no names for.

    * tanh: x/2 · (1 + tanh(√(2/π) · (x + 0.044715·x³))), ONNX Gelu (operator version 20)
    * sigmoid: x · sigmoid(1.702·x)
    """

    keras = "approximate_gelu"
    before = ("Activation",)

    def onnx(self, op: Ops, x: Var) -> Expr:
        gate = op.Sigmoid(op.Mul(x, scalar("slope", 1.702)))
        return any_of(
            op.Gelu(x, role="tanh", approximate="tanh"),
            op.Mul(x, gate, role="sigmoid"),
        )

    def params(self, m: Match) -> dict[str, Any]:
        require(m.x.const is None, "it is applied to a constant")
        return {"activation": "gelu_tanh" if m.tanh is not None else "gelu_sigmoid"}


def approximate_gelu(x: KerasTensor, activation: str) -> KerasTensor:
    """GELU by way of tanh ("gelu_tanh"), or of the sigmoid ("gelu_sigmoid", quick GELU)."""
    by_tanh = activation == "gelu_tanh"
    return ops.gelu(x, approximate=True) if by_tanh else x * ops.sigmoid(1.702 * x)


class BatchNorm(Pattern):
    """ONNX BatchNormalization (arXiv:1502.03167; versions 9, 14, 15) of channels: of images NCHW,
    or of vectors.
    """

    layer = "BatchNormalization"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.BatchNormalization(
            x,
            *(constant(name, rank=1) for name in BATCH_NORM_WEIGHTS),
            role="bn",
            training_mode=lambda mode: not mode,
        )

    def usual(self) -> dict[str, Any]:
        return {"epsilon": 1e-5, "momentum": 0.9}

    def params(self, m: Match) -> dict[str, Any]:
        require(len(m.shape("x")) in (2, 4), "it is of no image, nor of vectors")
        return batch_norm(m.bn)

    def weights(self, m: Match) -> dict[str, Array]:
        return {name: m.bound[name].const for name in BATCH_NORM_WEIGHTS}


class LayerNorm(Pattern):
    """ONNX LayerNormalization (operator version 17; arXiv:1607.06450) over the last axis alone."""

    layer = "LayerNormalization"
    order = staticmethod(plain)

    def keeps(self, order: Order) -> bool:
        return goes_over_the_last(order)

    def onnx(self, op: Ops, x: Var) -> Expr:
        gamma, beta = constant("gamma", rank=1), constant("beta", rank=1)
        return op.LayerNormalization(x, gamma, beta, role="norm")

    def usual(self) -> dict[str, Any]:
        return {"epsilon": 1e-5}

    def params(self, m: Match) -> dict[str, Any]:
        axis = m.norm.attrs.get("axis", -1)
        rank = len(m.x.shape or ())
        require(axis in (-1, rank - 1), f"it normalizes from axis {axis}, not over the last")
        require(m.gamma.const.shape == m.x.shape[-1:], "gamma is not one per channel")
        return {"epsilon": epsilon(m.norm)}

    def weights(self, m: Match) -> dict[str, Array]:
        return {"gamma": m.gamma.const, "beta": m.beta.const}


def is_last_of_image(axis: int | None) -> bool:
    """The condition on `axis` for what goes over the last axis of rank 4 alone."""
    return axis in (None, -1, 3)


class LayerNorm2d(Pattern):
    """Layer normalization of the channels of each pixel (arXiv:2201.03545, section 2.5).

    An image (B, C, H, W) is moved to (B, H, W, C) for it and back, which is nothing in Keras.
    """

    layer = "LayerNormalization"
    before = ("LayerNorm",)

    def onnx(self, op: Ops, x: Var) -> Expr:
        gamma, beta = constant("gamma", rank=1), constant("beta", rank=1)
        pixels = op.Rearrange("b c h w -> b h w c", x)
        y = op.LayerNormalization(pixels, gamma, beta, role="norm", axis=is_last_of_image)
        return op.Rearrange("b h w c -> b c h w", y)

    def usual(self) -> dict[str, Any]:
        return {"epsilon": 1e-5}

    def params(self, m: Match) -> dict[str, Any]:
        return {"epsilon": epsilon(m.norm)}

    def weights(self, m: Match) -> dict[str, Array]:
        return {"gamma": m.gamma.const, "beta": m.beta.const}


class GroupNorm(Pattern):
    """ONNX GroupNormalization (arXiv:1803.08494; operator version 21), of groups of channels.

    One group is layer normalization over channels and places together, as in MobileViTv2.
    """

    layer = "GroupNormalization"

    def onnx(self, op: Ops, x: Var) -> Expr:
        gamma, beta = constant("gamma", rank=1), constant("beta", rank=1)
        return op.GroupNormalization(x, gamma, beta, role="norm")

    def usual(self) -> dict[str, Any]:
        return {"epsilon": 1e-5}

    def params(self, m: Match) -> dict[str, Any]:
        _, channels, _, _ = m.shape("x", 4)
        require(m.gamma.const.shape == (channels,), "gamma is not one per channel")
        require(m.beta.const.shape == (channels,), "beta is not one per channel")
        return {
            "groups": m.norm.attrs["num_groups"],
            "epsilon": epsilon(m.norm),
        }

    def weights(self, m: Match) -> dict[str, Array]:
        return {"gamma": m.gamma.const, "beta": m.beta.const}


class Dense(Pattern):
    """MatMul with a constant, and a bias or none. Keras: Dense, kernel (inputs, units)."""

    layer = "Dense"
    order = staticmethod(plain)

    def keeps(self, order: Order) -> bool:
        return goes_over_the_last(order)

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = op.MatMul(x, constant("kernel", rank=2))
        return any_of(op.Add(y, constant("bias", rank=1)), y)

    def usual(self) -> dict[str, Any]:
        return {"use_bias": True}

    def params(self, m: Match) -> dict[str, Any]:
        units = m.kernel.const.shape[1]
        require(m.x.const is None, "its input is a constant")
        require(len(m.shape("x")) > 1, "its input is one vector for all images")
        require(m.bias is None or m.bias.const.shape == (units,), "the bias is not one per unit")
        return {"units": units, "use_bias": m.bias is not None}

    def weights(self, m: Match) -> dict[str, Array]:
        kernel = {"kernel": m.kernel.const}
        return kernel if m.bias is None else {**kernel, "bias": m.bias.const}


class Probabilities(Pattern):
    """(B, classes): the softmax in which a classifier ends (ONNX Softmax, operator version 13).

    Inside of a network it is part of an attention, and there it is left to that.
    """

    layer = "Softmax"
    order = staticmethod(plain)

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Softmax(x, role="softmax", axis=-1)

    def params(self, m: Match) -> dict[str, Any]:
        require(len(m.shape("x")) == 2, "it is of no vectors")
        require(m.graph.is_output(m.softmax.output), "the network does not end in it")
        return {}
