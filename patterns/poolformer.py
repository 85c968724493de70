"""PoolFormer (MetaFormer, arXiv:2111.11418) and PoolFormerV2 (arXiv:2210.13452).

A transformer that pools instead of attending.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.ir.kernels import conv_kernel
from onnx2mvit.ir.window import window_of
from onnx2mvit.matcher import (
    Array,
    Expr,
    Match,
    Ops,
    Pattern,
    Var,
    any_of,
    constant,
    multiple,
    optional,
    p,
    require,
    scalar,
)

from .attention import layer_scaled
from .conv import PointwiseConv, conv_bn_act, square, with_bias

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers, ops


class OverlappingPatchEmbedding(Pattern):
    """(B, C, H, W) → (B, d, H/s, W/s): of patches of k×k pixels, s apart, which overlap.

    It pads less than ⌊k/2⌋ on every side (arXiv:2111.11418, section 3.2). Keras: Conv2D.
    """

    keras = "overlapping_patch_embedding"

    def onnx(self, op: Ops, x: Var) -> Expr:
        kernel, bias = constant("kernel", rank=4), optional("bias", rank=1)
        return op.Conv(x, kernel, bias, role="conv", group=1)

    def params(self, m: Match) -> dict[str, Any]:
        m.shape("x", 4)
        window = window_of(m.conv)
        size, strides, dilation = square(window)
        require(size > strides > 1 and dilation == 1, "its patches do not overlap")
        require(not window.pads_by_size, "its padding depends on the size")
        (padding, *others) = window.onnx_pads
        require(set(others) == {padding} and padding > 0, f"its padding is {window.onnx_pads}")
        require(padding < size // 2, f"it pads {padding} pixels around {size}×{size}")
        return {
            **{"dim": len(m.kernel.const), "patch_size": size, "strides": strides},
            **{"padding": padding, "use_bias": m.bias is not None},
        }

    def weights(self, m: Match) -> dict[str, Array]:
        return with_bias(m, conv_kernel(m.kernel.const))


def overlapping_patch_embedding(
    x: KerasTensor,
    dim: int,
    patch_size: int = 7,
    strides: int = 4,
    padding: int = 2,
    use_bias: bool = True,
    *,
    name: str,
) -> KerasTensor:
    """A linear layer on the pixels of each patch, which has some in common with its neighbours."""
    x = layers.ZeroPadding2D(padding, name=f"{name}_pad")(x)
    return layers.Conv2D(dim, patch_size, strides=strides, use_bias=use_bias, name=name)(x)


class ScaledSquare(Pattern):
    """s · x² + b: of what ReLU gives it is StarReLU (arXiv:2210.13452, section 2.2).

    s and b are one number each. Keras has no such layer: here every channel has its own.
    """

    keras = "scaled_square"

    @property
    def is_leaf(self) -> bool:
        return True

    def onnx(self, op: Ops, x: Var) -> Expr:
        square = any_of(op.Pow(x, scalar("two", 2.0)), op.Mul(x, x))
        return op.Add(op.Mul(square, scalar("scale")), scalar("offset"))

    def params(self, m: Match) -> dict[str, Any]:
        m.shape("x", 4)
        require(m.x.const is None, "it is of a constant")
        return {}

    def weights(self, m: Match) -> dict[str, Array]:
        _, channels, _, _ = m.shape("x", 4)
        scale = np.full((1, 1, channels, 1), m.scale.const.item(), np.float32)
        return {"kernel": scale, "bias": np.full(channels, m.offset.const.item(), np.float32)}


def scaled_square(x: KerasTensor, *, name: str) -> KerasTensor:
    """s · x² + b: what makes StarReLU of ReLU."""
    return layers.DepthwiseConv2D(1, depthwise_initializer="ones", name=name)(ops.square(x))


class PoolFormerBlock(Pattern):
    """arXiv:2111.11418, section 3.2 and figure 2: pooling less its input, and an MLP of each pixel.

    Each is of what is normalized, scaled by LayerScale or not, and added to its input. V2
    (arXiv:2210.13452, section 2) has StarReLU, and late blocks scale that input.
    """

    keras = "poolformer_block"
    nested = True
    style = (
        *("pool_size", "activation", "star", "layer_scale", "residual_scale", "use_bias"),
        *("groups", "epsilon"),
    )

    def onnx(self, op: Ops, x: Var) -> Expr:
        norm: dict[str, Any] = p("groups", "epsilon")
        linear: dict[str, Any] = {"batch_norm": False, "use_bias": p.use_bias}

        def added(x: Expr, y: Expr, number: int) -> Expr:
            kept = any_of(op.ImageLayerScale(x, role=f"residual{number}"), x)
            return op.Add(kept, any_of(op.ImageLayerScale(y, role=f"scale{number}"), y))

        y: Expr = op.GroupNorm(x, role="norm1", **norm)
        size = {"pool_size": p.pool_size, "strides": 1, "padding": "same"}
        y = op.Sub(op.AveragePooling2D(y, role="pool", **size), y)
        mixed = added(x, y, 1)
        y = op.GroupNorm(mixed, role="norm2", **norm)
        active = p.activation.where(lambda how: how is not None)
        y = PointwiseConv(y, role="mlp_in", filters=p._hidden, activation=active, **linear)
        y = any_of(op.ScaledSquare(y, role="star"), y)
        y = PointwiseConv(y, role="mlp_out", filters=p._dim, activation=None, **linear)
        return added(mixed, y, 2)

    def params(self, m: Match) -> dict[str, Any]:
        _, dim, _, _ = m.shape("x", 4)
        require(m._dim == dim, f"mlp_out makes {m._dim} channels of {dim}")
        mlp_ratio = multiple(m._hidden, dim)
        pairs = (m.scale1, m.scale2), (m.residual1, m.residual2)
        alike = all((first is None) == (second is None) for first, second in pairs)
        require(alike, "one of its branches alone is scaled")
        return {
            "mlp_ratio": mlp_ratio,
            "star": m.star is not None,
            "layer_scale": m.scale1 is not None,
            "residual_scale": m.residual1 is not None,
        }


def poolformer_block(
    x: KerasTensor,
    pool_size: int = 3,
    mlp_ratio: float = 4,
    activation: str = "gelu",
    star: bool = False,
    layer_scale: bool = False,
    residual_scale: bool = False,
    use_bias: bool = True,
    groups: int = 1,
    epsilon: float = 1e-5,
    *,
    name: str,
) -> KerasTensor:
    """How pixels differ from the mean around them, and an MLP of each, both added to the input."""
    inputs = keras.Input(x.shape[1:])
    dim = x.shape[-1]
    norm = {"groups": groups, "epsilon": epsilon}
    linear: dict[str, Any] = {"batch_norm": False, "use_bias": use_bias}
    y = layers.GroupNormalization(**norm, name="norm1")(inputs)
    pooled = layers.AveragePooling2D(pool_size, 1, padding="same", name="pool")(y)
    y = layers.Subtract(name="token_mixer")([pooled, y])
    if layer_scale:
        y = layer_scaled(y, name="scale1")
    if residual_scale:
        x1 = layers.Add(name="add_mixed")([layer_scaled(inputs, name="residual1"), y])
    else:
        x1 = layers.Add(name="add_mixed")([inputs, y])
    y = layers.GroupNormalization(**norm, name="norm2")(x1)
    y = conv_bn_act(y, round(dim * mlp_ratio), 1, activation=activation, name="mlp_in", **linear)
    if star:
        y = scaled_square(y, name="star")
    y = conv_bn_act(y, dim, 1, activation=None, name="mlp_out", **linear)
    if layer_scale:
        y = layer_scaled(y, name="scale2")
    if residual_scale:
        x1 = layer_scaled(x1, name="residual2")
    y = layers.Add(name="add_mlp")([x1, y])
    return keras.Model(inputs, y, name=name)(x)
