"""MobileViTv2 (arXiv:2206.02680): self-attention without heads, linear in the patches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.ir.graph import Graph
from onnx2mvit.matcher import (
    Expr,
    Match,
    Ops,
    Pattern,
    Var,
    maybe,
    multiple,
    one_or_more,
    p,
    require,
)

from .conv import STYLE, DepthwiseConv, PointwiseConv, conv_bn_act
from .mobilevitv2_patches import fill_patches, fold_patches, unfold_patches

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers, ops


LINEAR = {"batch_norm": False, "use_bias": p.use_bias}


class SeparableSelfAttention(Pattern):
    """(B, d, P, N) → (B, d, P, N) with N patches of P pixels (arXiv:2206.02680, section 3.2).

    One 1×1 convolution makes the query, with one channel, the key and the value. The softmax of
    the query over the patches weighs the keys, whose sum weighs relu(value).
    """

    keras = "separable_self_attention"

    def onnx(self, op: Ops, x: Var) -> Expr:
        qkv = PointwiseConv(x, role="qkv", activation=None, **LINEAR)
        query = op.Slice(qkv, role="query", axis=1)
        key = op.Slice(qkv, role="key", axis=1)
        value = op.Slice(qkv, role="value", axis=1)
        weighted = op.Mul(key, op.Softmax(query, axis=-1))
        context = op.ReduceSum(weighted, axes=(3,), keepdims=1)
        value = op.Activation(value, role="act", activation="relu")
        return PointwiseConv(op.Mul(value, context), role="out", activation=None, **LINEAR)

    def params(self, m: Match) -> dict[str, Any]:
        _, dim, _, _ = m.shape("x", 4)
        require(m.qkv.filters == 1 + 2 * dim, f"qkv has {m.qkv.filters} filters, not 1 + 2·{dim}")
        require(m.out.filters == dim, f"it makes {m.out.filters} channels of {dim}")
        cuts = [(part.attrs["start"], part.attrs["end"]) for part in (m.query, m.key, m.value)]
        require(
            cuts == [(0, 1), (1, 1 + dim), (1 + dim, 1 + 2 * dim)],
            "query, key and value are ordered otherwise",
        )
        return {}


def separable_self_attention(x: KerasTensor, use_bias: bool = True, *, name: str) -> KerasTensor:
    """Self-attention of patches (batch, pixels, patches, channels) in linear time."""
    dim = x.shape[-1]
    qkv = conv_bn_act(
        x,
        1 + 2 * dim,
        1,
        activation=None,
        batch_norm=False,
        use_bias=use_bias,
        name=f"{name}_qkv",
    )
    query, key, value = ops.split(qkv, [1, 1 + dim], axis=-1)
    context = ops.sum(key * ops.softmax(query, axis=2), axis=2, keepdims=True)
    y = layers.Activation("relu", name=f"{name}_act")(value) * context
    return conv_bn_act(
        y, dim, 1, activation=None, batch_norm=False, use_bias=use_bias, name=f"{name}_out"
    )


class SeparableTransformerLayer(Pattern):
    """x + attention(norm(x)), then x + mlp(norm(x)), on (B, d, P, N) (arXiv:2206.02680, 3.2).

    The norms have one group: they are over pixels, patches and channels together.
    """

    keras = "separable_transformer_layer"
    nested = True
    style = ("activation", "use_bias", "epsilon")

    def onnx(self, op: Ops, x: Var) -> Expr:
        norm = {"groups": 1, "epsilon": p.epsilon}
        y = op.GroupNorm(x, role="norm_before", **norm)
        y = op.SeparableSelfAttention(y, role="attention", use_bias=p.use_bias)
        attended = op.Add(y, x)
        y = op.GroupNorm(attended, role="norm_after", **norm)
        active = p.activation.where(lambda how: how is not None)
        y = PointwiseConv(y, role="mlp_in", activation=active, **LINEAR)
        y = PointwiseConv(y, role="mlp_out", activation=None, **LINEAR)
        return op.Add(y, attended)

    def params(self, m: Match) -> dict[str, Any]:
        _, dim, _, _ = m.shape("x", 4)
        require(m.mlp_out.filters == dim, f"mlp_out makes {m.mlp_out.filters} channels of {dim}")
        mlp_ratio = multiple(m.mlp_in.filters, dim)
        return {"mlp_ratio": mlp_ratio}


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


class MobileViTV2Block(Pattern):
    """arXiv:2206.02680, section 3.1 and figure 3.

    Where patches do not fill the image, ml-cvnets and timm stretch it. Hugging Face's classes
    leave out the rest of it, and zeros in its place. A file that was traced where they do fill it
    only shows how it folds: Col2Im, the one fold that can leave zeros, is taken for the latter.
    """

    keras = "mobilevitv2_block"
    nested = True
    style = ("activation", "transformer_bias", "epsilon", "stretch")
    before = ("InvertedResidual",)  # without any bias, local and local_1x1 look like one

    def onnx(self, op: Ops, x: Var) -> Expr:
        y: Expr = maybe(op.FillPatches(x, role="stretched"))
        conv = {**p("kernel_size", "dilation", "activation"), **STYLE}
        layer = {**p("mlp_ratio", "activation", "epsilon"), "use_bias": p.transformer_bias}
        y = DepthwiseConv(y, role="local", strides=1, **conv)
        plain = {"batch_norm": False, "use_bias": False, "activation": None}
        y = PointwiseConv(y, role="local_1x1", filters=p.dim, **plain)
        y = op.UnfoldPatches(y, role="unfold", patch_size=p.patch_size)
        y = one_or_more("SeparableTransformerLayer", y, role="layer", **layer)
        y = op.GroupNorm(y, role="norm", groups=1, epsilon=p.epsilon)
        y = op.FoldPatches(y, role="fold", patch_size=p.patch_size)
        return PointwiseConv(y, role="project", filters=p.filters, activation=None, **STYLE)

    def params(self, m: Match) -> dict[str, Any]:
        patch, size = m.patch_size, m.shape("local_1x1", 4)[2:]
        require(m.fold.output.shape[2:] == size, "it folds to another size")
        channels, *own = m.shape("x", 4)[1:]
        require(m.local.filters == channels, "local has other filters than its input channels")
        if m.stretched is not None:
            whole = [-(-length // patch) * patch for length in own]
            require(list(size) == whole, f"patches of {patch} need no {size[0]}×{size[1]}")
        filled = all(length % patch == 0 for length in size)
        stretch = filled and (not m.fold.zeros or stretches(m.graph))
        return {"depth": len(m.layer), "stretch": stretch}


def stretches(graph: Graph) -> bool:
    """True if the network is seen to stretch an image somewhere."""
    blocks = graph.of(("FillPatches", "MobileViTV2Block"))
    return any(block.attrs.get("stretch", True) for block in blocks)


def mobilevitv2_block(
    x: KerasTensor,
    filters: int,
    dim: int,
    depth: int,
    patch_size: int,
    mlp_ratio: float = 2,
    kernel_size: int = 3,
    dilation: int = 1,
    stretch: bool = True,
    activation: str = "silu",
    transformer_bias: bool = True,
    epsilon: float = 1e-5,
    dropout: float = 0.0,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """Local convolutions, a separable transformer over patches, and a projection.

    An image that patches do not fill is stretched, or else the rest of it becomes zeros.
    """
    inputs = keras.Input(x.shape[1:])
    y = fill_patches(inputs, patch_size) if stretch else inputs
    y = conv_bn_act(
        y,
        y.shape[-1],
        kernel_size,
        dilation=dilation,
        depthwise=True,
        activation=activation,
        name="local",
        **conv,
    )
    y = conv_bn_act(y, dim, 1, activation=None, batch_norm=False, use_bias=False, name="local_1x1")
    image = y
    y = unfold_patches(image, patch_size)
    for i in range(depth):
        y = separable_transformer_layer(
            y,
            mlp_ratio=mlp_ratio,
            activation=activation,
            use_bias=transformer_bias,
            epsilon=epsilon,
            dropout=dropout,
            name=f"layer.{i}",
        )
    y = layers.GroupNormalization(1, epsilon=epsilon, name="norm")(y)
    y = fold_patches(y, image, patch_size)
    y = conv_bn_act(y, filters, 1, activation=None, name="project", **conv)
    return keras.Model(inputs, y, name=name)(x)
