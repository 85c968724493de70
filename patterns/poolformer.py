"""PoolFormer (MetaFormer, arXiv:2111.11418): a transformer that pools instead of attending."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.base.numbers import ratio
from onnx2mvit.ir.kernels import conv_kernel
from onnx2mvit.ir.window import window_of
from onnx2mvit.matcher import Array, Expr, Match, Ops, Pattern, Var, any_of, constant, p, require

from .attention import layer_scaled
from .conv import PointwiseConv, conv_bn_act, square

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers


class OverlappingPatchEmbedding(Pattern):
    """(B, C, H, W) → (B, d, H/s, W/s): of patches of k×k pixels, s apart, which overlap.

    It pads less than ⌊k/2⌋ on every side (arXiv:2111.11418, section 3.2). Keras: Conv2D.
    """

    keras = "overlapping_patch_embedding"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Conv(x, constant("kernel", rank=4), constant("bias"), role="conv", group=1)

    def params(self, m: Match) -> dict[str, Any]:
        m.shape("x", 4)
        window = window_of(m.conv)
        size, strides, dilation = square(window)
        require(size > strides > 1 and dilation == 1, "its patches do not overlap")
        require(not window.pads_by_size, "its padding depends on the size")
        (padding, *others) = window.onnx_pads
        require(set(others) == {padding} and padding > 0, f"its padding is {window.onnx_pads}")
        require(padding < size // 2, f"it pads {padding} pixels around {size}×{size}")
        filters = len(m.kernel.const)
        return {"dim": filters, "patch_size": size, "strides": strides, "padding": padding}

    def weights(self, m: Match) -> dict[str, Array]:
        return {"kernel": conv_kernel(m.kernel.const), "bias": m.bias.const}


def overlapping_patch_embedding(
    x: KerasTensor, dim: int, patch_size: int = 7, strides: int = 4, padding: int = 2, *, name: str
) -> KerasTensor:
    """A linear layer on the pixels of each patch, which has some in common with its neighbours."""
    x = layers.ZeroPadding2D(padding, name=f"{name}_pad")(x)
    return layers.Conv2D(dim, patch_size, strides=strides, name=name)(x)


class PoolFormerBlock(Pattern):
    """arXiv:2111.11418, section 3.2 and figure 2: pooling less its input, and an MLP of each pixel.

    Each is of what is normalized, scaled by LayerScale or not, and added to its input.
    """

    keras = "poolformer_block"
    nested = True
    style = ("pool_size", "activation", "layer_scale", "groups", "epsilon")

    def onnx(self, op: Ops, x: Var) -> Expr:
        norm: dict[str, Any] = p("groups", "epsilon")
        linear: dict[str, Any] = {"batch_norm": False, "use_bias": True}
        y: Expr = op.GroupNorm(x, role="norm1", **norm)
        size = {"pool_size": p.pool_size, "strides": 1, "padding": "same"}
        y = op.Sub(op.AveragePooling2D(y, role="pool", **size), y)
        mixed = op.Add(x, any_of(op.ImageLayerScale(y, role="scale1"), y))
        y = op.GroupNorm(mixed, role="norm2", **norm)
        active = p.activation.where(lambda how: how is not None)
        y = PointwiseConv(y, role="mlp_in", filters=p._hidden, activation=active, **linear)
        y = PointwiseConv(y, role="mlp_out", filters=p._dim, activation=None, **linear)
        return op.Add(mixed, any_of(op.ImageLayerScale(y, role="scale2"), y))

    def params(self, m: Match) -> dict[str, Any]:
        _, dim, _, _ = m.shape("x", 4)
        mlp_ratio = ratio(m._hidden, dim)
        require(m._dim == dim, f"mlp_out makes {m._dim} channels of {dim}")
        require(mlp_ratio is not None, f"{m._hidden} is no multiple of {dim} channels")
        scaled = m.scale1 is not None
        require(scaled == (m.scale2 is not None), "one of its branches alone is scaled")
        return {"mlp_ratio": mlp_ratio, "layer_scale": scaled}


def poolformer_block(
    x: KerasTensor,
    pool_size: int = 3,
    mlp_ratio: float = 4,
    activation: str = "gelu",
    layer_scale: bool = False,
    groups: int = 1,
    epsilon: float = 1e-5,
    *,
    name: str,
) -> KerasTensor:
    """How pixels differ from the mean around them, and an MLP of each, both added to the input."""
    inputs = keras.Input(x.shape[1:])
    dim = x.shape[-1]
    norm = {"groups": groups, "epsilon": epsilon}
    linear: dict[str, Any] = {"batch_norm": False, "use_bias": True}
    y = layers.GroupNormalization(**norm, name="norm1")(inputs)
    pooled = layers.AveragePooling2D(pool_size, 1, padding="same", name="pool")(y)
    y = layers.Subtract(name="token_mixer")([pooled, y])
    if layer_scale:
        y = layer_scaled(y, name="scale1")
    x1 = layers.Add(name="add_mixed")([inputs, y])
    y = layers.GroupNormalization(**norm, name="norm2")(x1)
    y = conv_bn_act(y, round(dim * mlp_ratio), 1, activation=activation, name="mlp_in", **linear)
    y = conv_bn_act(y, dim, 1, activation=None, name="mlp_out", **linear)
    if layer_scale:
        y = layer_scaled(y, name="scale2")
    y = layers.Add(name="add_mlp")([x1, y])
    return keras.Model(inputs, y, name=name)(x)
