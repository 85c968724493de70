"""ConvNeXt (arXiv:2201.03545) and ConvNeXt V2 (arXiv:2301.00808)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from onnx2mvit.base.numbers import shortest
from onnx2mvit.ir.graph import Value
from onnx2mvit.ir.layout import plain
from onnx2mvit.matcher import (
    Array,
    Builder,
    Expr,
    Match,
    Ops,
    Pattern,
    Rule,
    Var,
    any_of,
    constant,
    multiple,
    p,
    require,
    scalar,
)

from .attention import layer_scaled
from .conv import STYLE, Conv, DepthwiseConv, PointwiseConv, conv_bn_act
from .patch_merging import normalized_patch_embedding
from .rms_norm import rms_norm

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers, ops

TO_NHWC, TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)
GRN_EPSILON = 1e-6  # of every ConvNeXt V2 there is
LINEAR = {"batch_norm": False, "use_bias": p.mlp_bias}  # a linear layer as a 1×1 convolution


def normalized_pixels(op: Ops, x: Expr) -> Expr:
    """The normalization of the channels of each pixel: layer normalization, or by their size."""
    return any_of(
        op.LayerNorm2d(x, role="norm", epsilon=p.epsilon),
        op.RMSNorm2d(x, role="norm", epsilon=p.epsilon),
        op.SimpleNorm2d(x, role="norm", epsilon=p.epsilon),
    )


def which_norm(m: Match) -> dict[str, Any]:
    """Tells which of them it is."""
    kind = m.norm.kind
    return {"rms": kind in ("RMSNorm2d", "SimpleNorm2d"), "by_deviation": kind == "SimpleNorm2d"}


RMS = ("rms", "by_deviation")  # what is usual of a network that has such


class ScaleOfImage(Rule):
    """LayerScale on the image as the block gives it, wherever its code has it.

    Transpose(Mul(x, gamma[C]), perm=(0, 3, 1, 2)) → Mul(Transpose(x), gamma[C, 1, 1])
    """

    needed_by = "ConvNeXt by Hugging Face, and EdgeNeXt, which scale before they move the channels"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Transpose(op.Mul(x, constant("gamma", rank=1)), perm=TO_NCHW)

    def rewrite(self, m: Match, new: Builder) -> Value:
        *_, channels = m.shape("x", 4)
        require(m.gamma.const.shape == (channels,), "it is not one factor per channel")
        gamma = new.constant(m.gamma.const.reshape(-1, 1, 1), "gamma")
        return new.like_root(new.Transpose(m.x, perm=TO_NCHW), gamma, op="Mul")


class PatchifyStem(Pattern):
    """(B, 3, H, W) → (B, d, H/4, W/4): a convolution of patches, and a normalization of pixels.

    arXiv:2201.03545, section 2.2. Its patches may overlap.
    """

    keras = normalized_patch_embedding.__name__
    nested = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        own = p("kernel_size", "strides")
        y = Conv(x, role="proj", filters=p.dim, activation=None, **own, **STYLE)
        return op.LayerNorm2d(y, role="norm", epsilon=p.epsilon)

    def params(self, m: Match) -> dict[str, Any]:
        require(m.strides > 1, "its patches are pixels")
        return {}


class GlobalResponseNorm2d(Pattern):
    """(B, C, H, W) → (B, C, H, W): channels by how strong they are beside the others.

    arXiv:2301.00808, section 3.1 and algorithm 1: x + γ·x·‖x‖/(mean of ‖x‖ + ε) + β. It is no
    layer of Keras. EinsumDense is the one whose kernel and bias are such vectors.
    """

    keras = "global_response_norm"
    space: ClassVar[tuple[int, int]] = (2, 3)
    channels: ClassVar[int] = 1

    def onnx(self, op: Ops, x: Var) -> Expr:
        norm = op.ReduceL2(x, axes=self.space, keepdims=1)
        mean = op.ReduceMean(norm, axes=(self.channels,), keepdims=1)
        y: Expr = op.Mul(x, op.Div(norm, op.Add(mean, scalar("epsilon"))))
        y = op.Mul(y, constant("gamma"))
        y = any_of(op.Mul(y, scalar("value", 1.0)), y)  # torch.addcmul has such a factor
        return op.Sum(x, y, constant("beta"))

    def params(self, m: Match) -> dict[str, Any]:
        shape = [1, 1, 1, 1]
        shape[self.channels] = m.shape("x", 4)[self.channels]
        for vector in (m.gamma.const, m.beta.const):
            one_each = np.broadcast_shapes(vector.shape, (1, 1, 1, 1)) == tuple(shape)
            require(one_each, "it has not one γ and one β per channel")
        return {"epsilon": shortest(float(m.epsilon.const.reshape(())))}

    def weights(self, m: Match) -> dict[str, Array]:
        return {"kernel": m.gamma.const.reshape(-1), "bias": m.beta.const.reshape(-1)}


class GlobalResponseNorm(GlobalResponseNorm2d):
    """The same of an image that the file has as (B, H, W, C)."""

    space = (1, 2)
    channels = 3
    order = staticmethod(plain)


def global_response_norm(x: KerasTensor, epsilon: float = 1e-6, *, name: str) -> KerasTensor:
    """ConvNeXt V2's normalization: channels compete by their norms over the whole image."""
    norm = ops.sqrt(ops.sum(ops.square(x), axis=(1, 2), keepdims=True))
    y = x * (norm / (ops.mean(norm, axis=-1, keepdims=True) + epsilon))
    scale = layers.EinsumDense(
        "bhwd,d->bhwd", x.shape[1:], bias_axes="d", kernel_initializer="zeros", name=name
    )
    return x + scale(y)


class ConvNeXtBlock(Pattern):
    """arXiv:2201.03545, section 2 and figure 4; with GRN it is V2's (arXiv:2301.00808, figure 5).

    A depthwise convolution, and an MLP on the normalized channels of each pixel. The MLP is of
    linear layers on (B, H, W, C) or of 1×1 convolutions on (B, C, H, W).
    """

    keras = "convnext_block"
    nested = True
    style = (
        *("kernel_size", "activation", *RMS, "conv_mlp", "grn", "layer_scale"),
        *("mlp_bias", "epsilon"),
    )

    def onnx(self, op: Ops, x: Var) -> Expr:
        own = p("kernel_size", "dilation")
        y: Expr = DepthwiseConv(x, role="conv", strides=1, activation=None, **own, **STYLE)
        active = p.activation.where(lambda how: how is not None)
        z: Expr = normalized_pixels(op, y)
        z = PointwiseConv(z, role="mlp_in", filters=p._hidden, activation=active, **LINEAR)
        z = any_of(op.GlobalResponseNorm2d(z, role="grn", epsilon=GRN_EPSILON), z)
        image = PointwiseConv(z, role="mlp_out", filters=p._dim, activation=None, **LINEAR)
        z = op.LayerNorm(op.Transpose(y, perm=TO_NHWC), role="norm", epsilon=p.epsilon)
        z = op.Dense(z, role="mlp_in", units=p._hidden, use_bias=p.mlp_bias)
        z = op.Activation(z, role="act", activation=active)
        z = any_of(op.GlobalResponseNorm(z, role="grn", epsilon=GRN_EPSILON), z)
        z = op.Dense(z, role="mlp_out", units=p._dim, use_bias=p.mlp_bias)
        y = any_of(image, op.Transpose(z, perm=TO_NCHW, role="back"))
        return op.Add(x, any_of(op.ImageLayerScale(y, role="scale"), y))

    def params(self, m: Match) -> dict[str, Any]:
        _, dim, _, _ = m.shape("x", 4)
        require(m._dim == dim, f"mlp_out makes {m._dim} channels of {dim}")
        mlp_ratio = multiple(m._hidden, dim)
        return {
            "mlp_ratio": mlp_ratio,
            **which_norm(m),
            "conv_mlp": m.back is None,
            "grn": m.grn is not None,
            "layer_scale": m.scale is not None,
        }


def convnext_block(
    x: KerasTensor,
    kernel_size: int = 7,
    dilation: int = 1,
    mlp_ratio: float = 4,
    activation: str = "gelu",
    conv_mlp: bool = False,
    grn: bool = False,
    layer_scale: bool = False,
    rms: bool = False,
    by_deviation: bool = False,
    mlp_bias: bool = True,
    epsilon: float = 1e-6,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """A depthwise convolution, and an MLP on the normalized channels of each pixel."""
    inputs = keras.Input(x.shape[1:])
    dim = x.shape[-1]
    conv |= {"dilation": dilation, "depthwise": True, "activation": None}
    y = conv_bn_act(inputs, dim, kernel_size, name="conv", **conv)
    if rms:
        y = rms_norm(y, by_deviation, epsilon, name="norm")
    else:
        y = layers.LayerNormalization(epsilon=epsilon, name="norm")(y)
    if conv_mlp:
        linear: dict[str, Any] = {"batch_norm": False, "use_bias": mlp_bias}
        y = conv_bn_act(
            y, round(dim * mlp_ratio), 1, activation=activation, name="mlp_in", **linear
        )
        if grn:
            y = global_response_norm(y, name="grn")
        y = conv_bn_act(y, dim, 1, activation=None, name="mlp_out", **linear)
    else:
        y = layers.Dense(round(dim * mlp_ratio), use_bias=mlp_bias, name="mlp_in")(y)
        y = layers.Activation(activation, name="act")(y)
        if grn:
            y = global_response_norm(y, name="grn")
        y = layers.Dense(dim, use_bias=mlp_bias, name="mlp_out")(y)
    if layer_scale:
        y = layer_scaled(y, name="scale")
    y = layers.Add(name="residual")([inputs, y])
    return keras.Model(inputs, y, name=name)(x)


class ConvNeXtDownsampling(Pattern):
    """(B, C, H, W) → (B, d, H/2, W/2): a normalization, and a convolution of 2×2 pixels.

    arXiv:2201.03545, section 2.6.
    """

    keras = "convnext_downsampling"
    nested = True
    style = ("kernel_size", "strides", *RMS, "epsilon")

    def onnx(self, op: Ops, x: Var) -> Expr:
        own = p("kernel_size", "strides")
        y = normalized_pixels(op, x)
        return Conv(y, role="conv", filters=p.filters, activation=None, **own, **STYLE)

    def params(self, m: Match) -> dict[str, Any]:
        require(m.strides > 1, "it keeps the size")
        return which_norm(m)


def convnext_downsampling(
    x: KerasTensor,
    filters: int,
    kernel_size: int = 2,
    strides: int = 2,
    rms: bool = False,
    by_deviation: bool = False,
    epsilon: float = 1e-6,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """Normalizes the channels of each pixel, and makes one pixel of 2×2."""
    inputs = keras.Input(x.shape[1:])
    if rms:
        y = rms_norm(inputs, by_deviation, epsilon, name="norm")
    else:
        y = layers.LayerNormalization(epsilon=epsilon, name="norm")(inputs)
    y = conv_bn_act(y, filters, kernel_size, strides, activation=None, name="conv", **conv)
    return keras.Model(inputs, y, name=name)(x)
