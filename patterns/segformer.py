"""SegFormer (arXiv:2105.15203), and PVT v2 (arXiv:2106.13797), whose backbone is the same.

Attention has keys and values of a smaller image, and the MLP a convolution in it, in the place of
positions. Files have tokens (B, H·W, C) between the layers, Keras has images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher import (
    Expr,
    Match,
    Ops,
    Pattern,
    Var,
    any_of,
    each,
    multiple,
    one_or_more,
    p,
    require,
)

from .conv import STYLE, Conv, DepthwiseConv, PointwiseConv, conv_bn_act
from .layers import approximate_gelu
from .masks import mask_classifier, pixel_classifier
from .upsampling import is_bilinear, resize_like
from .vit import image_to_tokens, patch_embedding, tokens_to_image

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers

    from onnx2mvit.ir.window import Pads

LAYER = {
    **p("num_heads", "reduction", "mlp_ratio", "activation", "attention_bias", "use_bias"),
    **p("epsilon", "reduction_epsilon"),
}
PLAIN: dict[str, Any] = {"dilation": 1, "activation": None, "batch_norm": False}


def image_of(op: Ops, tokens: Expr | Var) -> Expr:
    """The image (B, C, H, W) of tokens (B, H·W, C), of one size in all of a layer."""
    return op.Rearrange("b (h w) d -> b d h w", tokens, h=p._height, w=p._width)


class MixTransformerLayer(Pattern):
    """(B, H·W, C) → (B, H·W, C): attention to a reduced image, and a Mix-FFN.

    arXiv:2105.15203, equations 2 and 3; the reduction is a convolution of patches as in
    arXiv:2102.12122, section 3.3.
    """

    keras = "mix_transformer_layer"
    nested = True
    inner = True
    style = ("activation", "attention_bias", "use_bias", "mlp_ratio", "epsilon")

    def onnx(self, op: Ops, x: Var) -> Expr:
        y: Expr = op.LayerNorm(x, role="norm_before", epsilon=p.epsilon)
        own: dict[str, Any] = {"num_heads": p.num_heads, "use_bias": p.attention_bias}
        patches = {"patch_size": p.reduction, "dim": p._dim, "use_bias": p.use_bias}
        keys = op.PatchEmbedding(image_of(op, y), role="reduction", **patches)
        keys = op.LayerNorm(keys, role="reduction_norm", epsilon=p._reduction_epsilon)
        y = any_of(
            op.Attention(y, keys, role="attention", causal=False, **own),
            op.MultiHeadAttention(y, role="attention", **own),
        )
        attended = op.Add(x, y)
        y = op.LayerNorm(attended, role="norm_after", epsilon=p.epsilon)
        y = op.Dense(y, role="mlp_in", use_bias=True)
        conv: dict[str, Any] = {"kernel_size": 3, "strides": 1, "padding": None, **PLAIN}
        y = DepthwiseConv(image_of(op, y), role="mlp_conv", use_bias=p.use_bias, **conv)
        y = op.ImageToTokens(y, role="tokens")
        y = any_of(
            op.Activation(y, role="act", activation=p.activation),
            op.ApproximateGelu(y, role="act", activation=p.activation),
        )
        return op.Add(attended, op.Dense(y, role="mlp_out", units=p._dim, use_bias=True))

    def params(self, m: Match) -> dict[str, Any]:
        _, _, dim = m.shape("x", 3)
        require(m._dim == dim, f"it makes {m._dim} channels of {dim}")
        mlp_ratio = multiple(m.mlp_in.units, dim)
        other = m._reduction_epsilon
        return {
            "mlp_ratio": mlp_ratio,
            "reduction": m.reduction.patch_size if m.reduction is not None else 1,
            **({"reduction_epsilon": other} if other not in (None, m.epsilon) else {}),
        }


def mix_transformer_layer(
    x: KerasTensor,
    num_heads: int,
    reduction: int = 1,
    mlp_ratio: float = 4,
    activation: str = "gelu",
    attention_bias: bool = True,
    use_bias: bool = True,
    epsilon: float = 1e-5,
    reduction_epsilon: float | None = None,
    dropout: float = 0.0,
    *,
    name: str,
) -> KerasTensor:
    """Attention of pixels (B, H, W, C) to a smaller image, and an MLP with a 3×3 convolution."""
    inputs = keras.Input(x.shape[1:])
    dim = x.shape[-1]
    y = layers.LayerNormalization(epsilon=epsilon, name="norm_before")(inputs)
    queries = keys = image_to_tokens(y)
    if reduction > 1:
        keys = patch_embedding(y, dim, reduction, use_bias, name="reduction")
        own = reduction_epsilon or epsilon
        keys = layers.LayerNormalization(epsilon=own, name="reduction_norm")(keys)
    attention = layers.MultiHeadAttention(
        num_heads, dim // num_heads, use_bias=attention_bias, name="attention"
    )
    y = tokens_to_image(attention(queries, keys), inputs)
    if dropout:
        y = layers.Dropout(dropout, name="dropout_attention")(y)
    x1 = layers.Add(name="add_attention")([inputs, y])
    y = layers.LayerNormalization(epsilon=epsilon, name="norm_after")(x1)
    y = layers.Dense(round(dim * mlp_ratio), name="mlp_in")(y)
    plain: dict[str, Any] = {"batch_norm": False, "use_bias": use_bias, "activation": None}
    y = conv_bn_act(y, y.shape[-1], 3, depthwise=True, name="mlp_conv", **plain)
    if activation in ("gelu_tanh", "gelu_sigmoid"):
        y = approximate_gelu(y, activation)
    else:
        y = layers.Activation(activation, name="act")(y)
    y = layers.Dense(dim, name="mlp_out")(y)
    if dropout:
        y = layers.Dropout(dropout, name="dropout_mlp")(y)
    y = layers.Add(name="add_mlp")([x1, y])
    return keras.Model(inputs, y, name=name)(x)


class MixTransformerStage(Pattern):
    """(B, C, H, W) → (B, d, H/s, W/s), or its tokens: patches that overlap, layers, a norm.

    arXiv:2105.15203, section 3.1.
    """

    keras = "mix_transformer_stage"
    nested = True
    style = ("use_bias", "epsilon")
    before = ("NormalizedPatchEmbedding",)

    def onnx(self, op: Ops, x: Var) -> Expr:
        own = p("kernel_size", "strides", "padding", "use_bias")
        y: Expr = Conv(x, role="proj", filters=p.dim, **own, **PLAIN)
        norm: dict[str, Any] = {"role": "proj_norm", "epsilon": p._first_epsilon}
        pixels = op.LayerNorm(op.Transpose(y, perm=(0, 2, 3, 1)), **norm)
        y = any_of(
            op.LayerNorm(op.ImageToTokens(y, role="tokens"), **norm),
            op.Rearrange("b h w d -> b (h w) d", pixels),
        )
        y = one_or_more("MixTransformerLayer", y, role="layer", **LAYER)
        y = op.LayerNorm(y, role="norm", epsilon=p._last_epsilon)
        return any_of(op.Rearrange("b (h w) d -> b d h w", y, h=p._height, w=p._width), y)

    def params(self, m: Match) -> dict[str, Any]:
        made = m.proj.output.shape[2:]
        require(m._height is None or made == (m._height, m._width), "it gives another image")
        own = {"proj_epsilon": m._first_epsilon, "norm_epsilon": m._last_epsilon}
        return {
            "depth": len(m.layer),
            **{key: value for key, value in own.items() if value != m.epsilon},
            **({"flat_output": True} if m._height is None else {}),
        }


def mix_transformer_stage(
    x: KerasTensor,
    dim: int,
    depth: int,
    num_heads: int,
    kernel_size: int = 3,
    strides: int = 2,
    padding: str | Pads | None = None,
    proj_epsilon: float | None = None,
    norm_epsilon: float | None = None,
    use_bias: bool = True,
    epsilon: float = 1e-5,
    flat_output: bool = False,
    dropout: float = 0.0,
    *,
    name: str,
    **layer: Any,
) -> KerasTensor:
    """Patches that overlap become pixels, then layers of attention: at a smaller size."""
    inputs = keras.Input(x.shape[1:])
    own: dict[str, Any] = {"padding": padding, "activation": None, "batch_norm": False}
    y = conv_bn_act(inputs, dim, kernel_size, strides, use_bias=use_bias, name="proj", **own)
    y = layers.LayerNormalization(epsilon=proj_epsilon or epsilon, name="proj_norm")(y)
    layer |= {"use_bias": use_bias, "epsilon": epsilon, "dropout": dropout}
    for i in range(depth):
        y = mix_transformer_layer(y, num_heads, name=f"layer.{i}", **layer)
    y = layers.LayerNormalization(epsilon=norm_epsilon or epsilon, name="norm")(y)
    if flat_output:
        y = image_to_tokens(y)
    return keras.Model(inputs, y, name=name)(x)


class SegFormerHead(Pattern):
    """Images of several sizes → (B, classes, H, W): logits of every pixel of the largest.

    arXiv:2105.15203, section 3.2 and equation 4: a linear layer on the pixels of each, all of one
    size then, joined by a 1×1 convolution.
    """

    keras = "segformer_head"
    nested = True
    before = ("ResizeToInput", "BilinearUpsampling", "FillPatches")

    def onnx(self, op: Ops, x: Var) -> Expr:
        y: Expr = op.ImageToTokens(x, role="tokens")
        y = op.Dense(y, role="linear", units=p.filters, use_bias=True)
        y = op.Rearrange("b (h w) d -> b d h w", y)
        branch = any_of(op.Resize(y, role="resize", mode=is_bilinear, by_sizes=1), y)
        y = op.Concat(each(branch, role="branches"), axis=1)
        y = PointwiseConv(y, role="fuse", filters=p.filters, **p("activation"), **STYLE)
        return mask_classifier(y)

    def operands(self, m: Match) -> tuple[Value, ...]:
        return tuple(part.x for part in m.branches)

    def params(self, m: Match) -> dict[str, Any]:
        sizes = [part.shape("x", 4)[2:] for part in m.branches]
        (made,) = {part.root.output.shape[2:] for part in m.branches}
        require(sizes[-1] == made, "the last is not the largest")
        for part, size in zip(m.branches, sizes, strict=True):
            image = part.resize.inputs[0] if part.resize is not None else part.root.output
            require(image.shape[2:] == size, "its pixels are another image's")
        modes = {part.resize.attrs["mode"] for part in m.branches if part.resize is not None}
        require(modes <= {"linear"}, "it is enlarged corners on corners")
        return {}


def segformer_head(
    x: KerasTensor,
    *others: KerasTensor,
    num_classes: int,
    filters: int,
    activation: str | None = "relu",
    dropout: float = 0.0,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """Logits of every pixel of the last and largest of several images, from all of them."""
    images = [x, *others]
    inputs = [keras.Input(image.shape[1:]) for image in images]
    parts = []
    for i, image in enumerate(inputs):
        y = layers.Dense(filters, name=f"linear.{i}")(image)
        last = image is inputs[-1]
        parts.append(y if last else resize_like(y, inputs[-1], name=f"resize.{i}"))
    y = layers.Concatenate(name="concat")(parts)
    y = conv_bn_act(y, filters, 1, activation=activation, name="fuse", **conv)
    y = pixel_classifier(y, num_classes, dropout, name="classifier")
    return keras.Model(inputs, y, name=name)(images)
