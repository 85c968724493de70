"""FastViT (arXiv:2303.14189): RepMixer, convolutional feed-forward networks, attention at the end.

Its stem, the end of its patch embeddings and its last convolution are MobileOne's blocks. Merged
branches are a convolution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, multiple, p, require

from .attention import layer_scaled
from .conv import STYLE, DepthwiseConv, FoldedNorm, PointwiseConv, conv_bn_act
from .mobileone import mobileone_block
from .repvgg import normalized
from .vit import image_to_tokens, tokens_to_image

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers

NORM = {"epsilon": p.bn_epsilon, "momentum": p.bn_momentum}
KERNEL = 7  # of all that see far: the paper's "large kernel convolutions" (section 3.3)


def scaled(op: Ops, y: Expr, role: str) -> Expr:
    """A branch times LayerScale, or as it is."""
    return any_of(op.ImageLayerScale(y, role=role), y)


class RepMixer(Pattern):
    """x + γ · (mixer(x) - norm(x)) (arXiv:2303.14189, section 3.2.1 and figure 2d).

    The mixer is MobileOne's block of every channel by itself. γ is LayerScale, and may be absent.
    """

    keras = "rep_mixer"
    nested = True
    style = ("kernel_size", "layer_scale", "skip_as_conv", "bn_epsilon", "bn_momentum")

    def onnx(self, op: Ops, x: Var) -> Expr:
        own: dict[str, Any] = {"num_branches": 1, "strides": 1, "dilation": 1, "squeeze": None}
        own |= {"depthwise": True, "activation": None, **p("kernel_size", "skip_as_conv")}
        mixer = op.MobileOneBlock(x, role="mixer", **own, **STYLE)
        norm = any_of(
            op.BatchNorm(x, role="norm", **NORM),
            FoldedNorm(x, role="norm", **STYLE),
        )
        return any_of(
            op.Add(scaled(op, op.Sub(mixer, norm), "layer_scale"), x),
            op.Sub(op.Add(mixer, x), norm),
        )

    def params(self, m: Match) -> dict[str, Any]:
        m.shape("x", 4)
        alike = m.mixer.skip_as_conv == (m.norm.kind == "ConvBnAct")
        require(alike, "one of its normalizations alone is folded")
        return {"layer_scale": m.layer_scale is not None}


def rep_mixer(
    x: KerasTensor,
    kernel_size: int = 3,
    layer_scale: bool = True,
    skip_as_conv: bool = False,
    bn_epsilon: float = 1e-5,
    bn_momentum: float = 0.9,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """Mixes the pixels of every channel: x + γ · (mixer(x) - norm(x))."""
    inputs = keras.Input(x.shape[1:])
    conv |= {"bn_epsilon": bn_epsilon, "bn_momentum": bn_momentum}
    own = {"num_branches": 1, "depthwise": True, "activation": None, **conv}
    mixed = mobileone_block(
        inputs, x.shape[-1], kernel_size, skip_as_conv=skip_as_conv, name="mixer", **own
    )
    norm = normalized(inputs, skip_as_conv, name="norm", **conv)
    y = layers.Subtract(name="subtract")([mixed, norm])
    if layer_scale:
        y = layer_scaled(y, name="layer_scale")
    y = layers.Add(name="add")([inputs, y])
    return keras.Model(inputs, y, name=name)(x)


class ConvFFN(Pattern):
    """A large convolution of every channel by itself, then two 1×1 (arXiv:2303.14189, 3.3).

    The first alone is normalized; between the other two is the activation.
    """

    keras = "conv_ffn"
    nested = True
    before = ("DepthwiseSeparable",)
    style = ("activation",)

    def onnx(self, op: Ops, x: Var) -> Expr:
        plain = {"batch_norm": False, "use_bias": True}
        far = {"kernel_size": KERNEL, "strides": 1, "dilation": 1, "activation": None}
        y = DepthwiseConv(x, role="conv", **far, **STYLE)
        active = p.activation.where(lambda how: how is not None)
        y = PointwiseConv(y, role="fc1", activation=active, **plain)
        return PointwiseConv(y, role="fc2", activation=None, **plain)

    def params(self, m: Match) -> dict[str, Any]:
        _, channels, _, _ = m.shape("x", 4)
        mlp_ratio = multiple(m.fc1.filters, channels)
        require(m.fc2.filters == channels, f"it makes {m.fc2.filters} channels of {channels}")
        return {"mlp_ratio": mlp_ratio}


def conv_ffn(
    x: KerasTensor, mlp_ratio: float, activation: str = "gelu", *, name: str, **conv: Any
) -> KerasTensor:
    """A 7×7 convolution of every channel by itself, then two 1×1 over all channels."""
    inputs = keras.Input(x.shape[1:])
    channels = x.shape[-1]
    y = conv_bn_act(inputs, channels, 7, depthwise=True, activation=None, name="conv", **conv)
    plain = {**conv, "batch_norm": False, "use_bias": True}
    y = conv_bn_act(y, round(channels * mlp_ratio), 1, activation=activation, name="fc1", **plain)
    y = conv_bn_act(y, channels, 1, activation=None, name="fc2", **plain)
    return keras.Model(inputs, y, name=name)(x)


def fed_forward(op: Ops, x: Expr, role: str) -> Expr:
    """x + γ · ConvFFN(x)."""
    y = op.ConvFFN(x, role="ffn", **p("mlp_ratio", "activation"), **STYLE)
    return op.Add(scaled(op, y, role), x)


class RepMixerBlock(Pattern):
    """RepMixer and ConvFFN, with residual and LayerScale (arXiv:2303.14189, figure 2).

    Once its branches are merged, RepMixer is one convolution (section 3.2.1).
    """

    keras = "rep_mixer_block"
    nested = True
    style = ("kernel_size", "activation", "layer_scale", "merged", "skip_as_conv")

    def onnx(self, op: Ops, x: Var) -> Expr:
        size: dict[str, Any] = {"kernel_size": p.kernel_size}
        merged = {"batch_norm": False, "use_bias": True, "activation": None, "dilation": 1}
        mixed = any_of(
            DepthwiseConv(x, role="token_mixer", strides=1, **size, **merged),
            op.RepMixer(x, role="token_mixer", **size, **p("layer_scale", "skip_as_conv"), **STYLE),
        )
        return fed_forward(op, mixed, "scale")

    def params(self, m: Match) -> dict[str, Any]:
        m.shape("x", 4)
        require(m.kernel_size > 1, "its token mixer sees one pixel")
        scaled = m.scale is not None
        require(m.layer_scale in (None, scaled), "one of its branches alone is scaled")
        merged = m.token_mixer.kind == "ConvBnAct"
        return {"layer_scale": scaled, **({"merged": True} if merged else {})}


def rep_mixer_block(
    x: KerasTensor,
    mlp_ratio: float,
    kernel_size: int = 3,
    activation: str = "gelu",
    layer_scale: bool = True,
    merged: bool = False,
    skip_as_conv: bool = False,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """FastViT's block: RepMixer, then a convolutional feed-forward network and a residual."""
    inputs = keras.Input(x.shape[1:])
    if merged:
        own = {**conv, "batch_norm": False, "use_bias": True, "activation": None}
        mixed = conv_bn_act(
            inputs, x.shape[-1], kernel_size, depthwise=True, name="token_mixer", **own
        )
    else:
        mixed = rep_mixer(
            inputs,
            kernel_size,
            layer_scale=layer_scale,
            skip_as_conv=skip_as_conv,
            name="token_mixer",
            **conv,
        )
    y = conv_ffn(mixed, mlp_ratio, activation, name="ffn", **conv)
    if layer_scale:
        y = layer_scaled(y, name="scale")
    y = layers.Add(name="add")([mixed, y])
    return keras.Model(inputs, y, name=name)(x)


class ConditionalPositionalEncoding(Pattern):
    """An image plus a convolution of every channel of it (arXiv:2102.10882, section 3.2).

    FastViT's has a 7×7 kernel, and is before the stages with attention (arXiv:2303.14189, 3.2).
    """

    keras = "conditional_positional_encoding"
    nested = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        plain = {"batch_norm": False, "use_bias": True, "activation": None, "padding": None}
        return op.Add(DepthwiseConv(x, role="conv", kernel_size=KERNEL, strides=1, **plain), x)

    def params(self, m: Match) -> dict[str, Any]:
        m.shape("x", 4)
        require(m.conv.dilation == 1, "it is dilated")
        return {}


def conditional_positional_encoding(x: KerasTensor, *, name: str) -> KerasTensor:
    """Adds to every channel what a 7×7 convolution makes of it, by which pixels tell places."""
    inputs = keras.Input(x.shape[1:])
    y = conv_bn_act(
        inputs,
        x.shape[-1],
        7,
        depthwise=True,
        activation=None,
        batch_norm=False,
        use_bias=True,
        name="conv",
    )
    y = layers.Add(name="add")([inputs, y])
    return keras.Model(inputs, y, name=name)(x)


class FastViTAttentionBlock(Pattern):
    """Attention between all pixels, then ConvFFN, each with a residual and LayerScale.

    arXiv:2303.14189, section 3.2 and figure 2: the token mixer of the last stages of SA and MA.
    The larger image encoders of MobileCLIP2 (arXiv:2508.20691) normalize channels, not the batch.
    """

    keras = "fastvit_attention_block"
    nested = True
    style = (
        *("activation", "attention_bias", "layer_scale", "layer_norm", "epsilon"),
        *("bn_epsilon", "bn_momentum"),
    )

    def onnx(self, op: Ops, x: Var) -> Expr:
        norm = any_of(
            op.BatchNorm(x, role="norm", **NORM),
            op.LayerNorm2d(x, role="norm", epsilon=p.epsilon),
        )
        y: Expr = op.ImageToTokens(norm, role="tokens")
        own = {"num_heads": p.num_heads, "use_bias": p.attention_bias}
        y = op.MultiHeadAttention(y, role="attention", **own)
        y = op.Rearrange("b (h w) d -> b d h w", y, h=p._height, w=p._width)
        attended = op.Add(scaled(op, y, "scale_attention"), x)
        return fed_forward(op, attended, "scale")

    def params(self, m: Match) -> dict[str, Any]:
        _, _, height, width = m.shape("x", 4)
        require((m._height, m._width) == (height, width), "it makes an image of another size")
        scaled = m.scale is not None
        require(scaled == (m.scale_attention is not None), "one of its branches alone is scaled")
        layer_norm = m.norm.kind == "LayerNorm2d"
        return {"layer_scale": scaled, **({"layer_norm": True} if layer_norm else {})}


def fastvit_attention_block(
    x: KerasTensor,
    num_heads: int,
    mlp_ratio: float,
    activation: str = "gelu",
    attention_bias: bool = True,
    layer_scale: bool = True,
    layer_norm: bool = False,
    epsilon: float = 1e-5,
    bn_epsilon: float = 1e-5,
    bn_momentum: float = 0.9,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """Attention between all pixels of an image, then a convolutional feed-forward network."""
    inputs = keras.Input(x.shape[1:])
    conv |= {"bn_epsilon": bn_epsilon, "bn_momentum": bn_momentum}
    if layer_norm:
        y = layers.LayerNormalization(epsilon=epsilon, name="norm")(inputs)
    else:
        y = layers.BatchNormalization(epsilon=bn_epsilon, momentum=bn_momentum, name="norm")(inputs)
    y = image_to_tokens(y)
    attention = layers.MultiHeadAttention(
        num_heads, x.shape[-1] // num_heads, use_bias=attention_bias, name="attention"
    )
    y = tokens_to_image(attention(y, y), inputs)
    if layer_scale:
        y = layer_scaled(y, name="scale_attention")
    attended = layers.Add(name="add_attention")([inputs, y])
    y = conv_ffn(attended, mlp_ratio, activation, name="ffn", **conv)
    if layer_scale:
        y = layer_scaled(y, name="scale")
    y = layers.Add(name="add")([attended, y])
    return keras.Model(inputs, y, name=name)(x)
