"""The MobileViTv2 block: local convolutions → separable transformer over patches → projection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.ir.graph import Graph
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Ops, Pattern, Var, maybe, one_or_more, require

from .conv_bn_act import FULL, STYLE, conv_bn_act
from .fill_patches import fill_patches
from .fold_patches import fold_patches
from .separable_transformer_layer import separable_transformer_layer
from .unfold_patches import unfold_patches

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers


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
        y = op.ConvBnAct(y, role="local", strides=1, depthwise=True)
        plain = {"batch_norm": False, "use_bias": False, "activation": None}
        y = op.ConvBnAct(y, role="local_1x1", kernel_size=1, strides=1, **plain, **FULL)
        y = op.UnfoldPatches(y, role="unfold")
        y = one_or_more("SeparableTransformerLayer", y, role="layer")
        y = op.GroupNorm(y, role="norm", groups=1)
        y = op.FoldPatches(y, role="fold")
        return op.ConvBnAct(y, role="project", kernel_size=1, strides=1, activation=None, **FULL)

    def params(self, m: Match) -> dict[str, Any]:
        first, *others = m.layer
        patch, size = m.unfold.patch_size, m.shape("local_1x1", 4)[2:]
        for other in others:
            require(other.params == first.params, "its transformer layers differ")
        require(m.fold.patch_size == patch, "it folds otherwise than it unfolds")
        require(m.fold.output.shape[2:] == size, "it folds to another size")
        require(m.norm.epsilon == first.epsilon, "its norms differ in epsilon")
        require(m.local.activation == first.activation, "its activations differ")
        channels, *own = m.shape("x", 4)[1:]
        require(m.local.filters == channels, "local has other filters than its input channels")
        if m.stretched is not None:
            whole = [-(-length // patch) * patch for length in own]
            require(list(size) == whole, f"patches of {patch} need no {size[0]}×{size[1]}")
        filled = all(length % patch == 0 for length in size)
        return {
            "filters": m.project.filters,
            "dim": m.local_1x1.filters,
            "depth": len(m.layer),
            "patch_size": patch,
            "mlp_ratio": first.mlp_ratio,
            "kernel_size": m.local.kernel_size,
            "dilation": m.local.dilation,
            "stretch": filled and (not m.fold.zeros or stretches(m.graph)),
            "activation": first.activation,
            "transformer_bias": first.use_bias,
            "epsilon": first.epsilon,
            **m.common(("local", "project"), *STYLE),
        }


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
