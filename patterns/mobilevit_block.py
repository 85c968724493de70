"""The MobileViT block: local convolutions → transformer over unfolded patches → fusion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Ops, Pattern, Var, any_of, one_or_more, require

from .conv_bn_act import FULL, STYLE, conv_bn_act
from .fold import fold
from .transformer_layer import transformer_layer
from .unfold import unfold

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers


class MobileViTBlock(Pattern):
    """arXiv:2110.02178, section 3.1 and figure 1b; some configurations have no fusion."""

    keras = "mobilevit_block"
    nested = True
    style = ("activation", "attention_bias", "epsilon")

    def onnx(self, op: Ops, x: Var) -> Expr:
        y: Expr = op.ConvBnAct(x, role="local", strides=1, dilation=1, **FULL)
        plain = {"batch_norm": False, "use_bias": False, "activation": None}
        y = op.ConvBnAct(y, role="local_1x1", kernel_size=1, strides=1, **plain, **FULL)
        y = op.Unfold(y, role="unfold")
        y = one_or_more("TransformerLayer", y, role="layer")
        y = op.LayerNorm(y, role="norm")
        y = op.Fold(y, role="fold")
        y = op.ConvBnAct(y, role="project", kernel_size=1, strides=1, **FULL)
        both = op.Concat(x, y, axis=1)
        fused = op.ConvBnAct(both, role="fusion", strides=1, dilation=1, **FULL)
        return any_of(fused, y)

    def params(self, m: Match) -> dict[str, Any]:
        first, *others = m.layer
        dim = m.local_1x1.filters
        for other in others:
            require(other.params == first.params, "its transformer layers differ")
        require(not {"gelu", "layer_scale"} & first.params.keys(), "its layers are ViT's")
        require(m.unfold.params == m.fold.params, "it folds otherwise than it unfolds")
        require(m.unfold.inputs[0].shape == m.fold.output.shape, "it folds to another size")
        require(first.epsilon == m.norm.epsilon, "its norms differ in epsilon")
        require(first.activation == m.local.activation, "its activations differ")
        if m.fusion is not None:
            require(m.local.kernel_size == m.fusion.kernel_size, "its kernels differ")
        filters, channels = m.project.filters, m.shape("x", 4)[1]
        require(m.local.filters == channels, "local has other filters than its input channels")
        require(
            m.fusion is None or m.fusion.filters == filters, "fusion has other filters than project"
        )
        return {
            "filters": filters,
            "dim": dim,
            "depth": len(m.layer),
            "num_heads": first.num_heads,
            "patch_size": m.unfold.patch_size,
            "mlp_ratio": first.mlp_ratio,
            "kernel_size": m.local.kernel_size,
            "fusion": m.fusion is not None,
            "attention_bias": first.attention_bias,
            "epsilon": m.norm.epsilon,
            **m.common(("local", "project", "fusion"), "activation", *STYLE),
        }


def mobilevit_block(
    x: KerasTensor,
    filters: int,
    dim: int,
    depth: int,
    num_heads: int,
    patch_size: int,
    mlp_ratio: float = 2,
    kernel_size: int = 3,
    fusion: bool = True,
    activation: str = "silu",
    attention_bias: bool = True,
    epsilon: float = 1e-5,
    dropout: float = 0.0,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """Local convolutions, a transformer over unfolded patches, and fusion with the input."""
    inputs = keras.Input(x.shape[1:])
    conv["activation"] = activation
    y = conv_bn_act(inputs, inputs.shape[-1], kernel_size, name="local", **conv)
    y = conv_bn_act(y, dim, 1, activation=None, batch_norm=False, use_bias=False, name="local_1x1")
    image = y
    y = unfold(image, patch_size)
    for i in range(depth):
        y = transformer_layer(
            y,
            num_heads,
            mlp_ratio=mlp_ratio,
            activation=activation,
            attention_bias=attention_bias,
            epsilon=epsilon,
            dropout=dropout,
            name=f"layer.{i}",
        )
    y = layers.LayerNormalization(epsilon=epsilon, name="norm")(y)
    y = fold(y, image, patch_size)
    y = conv_bn_act(y, filters, 1, name="project", **conv)
    if fusion:
        y = layers.Concatenate(name="concat")([inputs, y])
        y = conv_bn_act(y, filters, kernel_size, name="fusion", **conv)
    return keras.Model(inputs, y, name=name)(x)
