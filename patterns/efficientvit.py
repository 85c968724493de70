"""EfficientViT (arXiv:2205.14756): attention without softmax, linear in the pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.base.numbers import shortest
from onnx2mvit.matcher import (
    Expr,
    Match,
    Ops,
    Pattern,
    Var,
    any_of,
    constant,
    p,
    require,
    scalar,
)

from .conv import STYLE, DepthwiseConv, GroupConv, PointwiseConv, conv_bn_act
from .layers import approximate_gelu
from .vit import image_to_tokens, tokens_to_image

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers, ops

    from onnx2mvit.ir.window import Pads

PLAIN = {"strides": 1, "dilation": 1, "activation": None, "batch_norm": False}
SCALES = (0, 1, 2)  # how many there are besides the pixels themselves; the paper has one


class ReLUAttention(Pattern):
    """Image (B, heads · 3d, H, W) → (B, heads · d, H, W): ReLU linear attention of all pixels.

    Section 2.2: what queries weigh is summed first, relu(Q) (relu(K)ᵀ V). A channel of ones, which
    is appended to the values, becomes the sum of the weights, by which the others are divided.
    """

    keras = "relu_attention"
    inner = True
    before = ("Activation",)  # queries and keys are activated in another order of axes in Keras

    def onnx(self, op: Ops, x: Var) -> Expr:
        heads = op.Rearrange("b (g c) h w -> b g c (h w)", x, g=p._heads, c=p._channels)

        def part(role: str) -> Expr:
            return op.Slice(heads, role=role, axis=2)

        def with_ones(y: Expr) -> Expr:
            return op.Pad(y, constant("pads"), scalar("one", 1.0), role="padded", mode="constant")

        def divided(y: Expr, axis: int) -> Expr:
            total = op.Slice(y, role="total", axis=axis)
            total = op.Add(total, scalar("epsilon"))
            return op.Div(op.Slice(y, role="weighted", axis=axis), total)

        def turned(y: Expr) -> Expr:
            return op.Transpose(y, perm=(0, 1, 3, 2))

        query = op.Relu(turned(part("query")))
        key = turned(op.Relu(turned(part("key"))))
        y = op.MatMul(query, op.MatMul(key, with_ones(turned(part("value"))), role="context"))
        size: dict[str, Any] = {"g": p._heads, "h": p._height, "w": p._width}
        by_rows = op.Rearrange("b g (h w) d -> b (g d) h w", divided(y, 3), **size)

        key = turned(op.Relu(part("key")))
        context = op.MatMul(with_ones(part("value")), key, role="context")
        y = op.MatMul(context, op.Relu(part("query")))
        by_columns = op.Rearrange("b g d (h w) -> b (g d) h w", divided(y, 2), **size)
        return any_of(by_rows, by_columns)

    def params(self, m: Match) -> dict[str, Any]:
        _, _, *size = m.shape("x", 4)
        require([m._height, m._width] == size, "its pixels are another image's")
        dim, rest = divmod(m._channels, 3)
        require(rest == 0, f"{m._channels} channels of a head are no three parts")
        parts = (m.query, m.key, m.value, m.weighted, m.total)
        found = [(part.attrs["start"], part.attrs["end"]) for part in parts]
        bounds = [(0, dim), (dim, 2 * dim), (2 * dim, 3 * dim), (0, dim), (dim, dim + 1)]
        require(found == bounds, f"its parts are {found}, not {bounds}")
        axis = m.total.attrs["axis"]
        ones = [int(i == (7 if axis == 3 else 6)) for i in range(8)]
        require(m.pads.const.tolist() == ones, "its ones are no channel after the values")
        return {"num_heads": m._heads, "epsilon": shortest(m.epsilon.const.item())}


def relu_attention(
    x: KerasTensor, num_heads: int, epsilon: float = 1e-5, *, name: str
) -> KerasTensor:
    """Attention of all pixels whose weights are relu(query) · relu(key), in linear time."""
    qkv = layers.Reshape((-1, num_heads, x.shape[-1] // num_heads))(image_to_tokens(x))
    query, key, value = ops.split(qkv, 3, axis=-1)
    query, key = ops.relu(query), ops.relu(key)
    context = ops.einsum("bnhi,bnhj->bhij", key, value)
    total = ops.einsum("bnhi,bhi->bnh", query, ops.sum(key, axis=1))
    y = ops.einsum("bnhi,bhij->bnhj", query, context) / (total[..., None] + epsilon)
    return tokens_to_image(layers.Reshape((-1, x.shape[-1] // 3))(y), x)


class LiteMLA(Pattern):
    """Multi-scale linear attention, and the input added (arXiv:2205.14756, section 2.2, figure 2).

    Queries, keys and values are those of the pixels, and those that convolutions sum up around
    them: of every channel by itself, then over the channels of each query, key or value of a head.
    """

    keras = "lite_mla"
    nested = True
    style = ("scales", "qkv_bias", "epsilon")

    def onnx(self, op: Ops, x: Var) -> Expr:
        own = {**PLAIN, "use_bias": p.qkv_bias}
        qkv = PointwiseConv(x, role="qkv", filters=p._filters, **own)

        def around(i: int) -> Expr:
            y = DepthwiseConv(qkv, role=f"depthwise.{i}", padding=p.padding, **own)
            one = {"kernel_size": 1, "filters": p._filters, "groups": p._groups}
            return GroupConv(y, role=f"pointwise.{i}", **one, **own)

        def attended(scales: int) -> Expr:
            y = op.Concat(qkv, *(around(i) for i in range(scales)), axis=1) if scales else qkv
            return op.ReLUAttention(y, role="attention", num_heads=p._heads, epsilon=p.epsilon)

        y: Expr = any_of(*(attended(scales) for scales in SCALES))
        y = PointwiseConv(y, role="proj", filters=p._dim, activation=None, **STYLE)
        return op.Add(x, y, role="add")

    def params(self, m: Match) -> dict[str, Any]:
        _, dim, _, _ = m.shape("x", 4)
        require(m._dim == dim, f"proj makes {m._dim} channels of {dim}")
        around = [m.bound.get(f"depthwise.{i}") for i in range(max(SCALES))]
        scales = tuple(conv.kernel_size for conv in around if conv is not None)
        num_heads = m._heads // (1 + len(scales))
        groups = m._groups or 3 * num_heads
        require(groups == 3 * num_heads, f"{groups} groups are not three for each head")
        return {"num_heads": num_heads, "head_dim": m._filters // groups, "scales": scales}


def lite_mla(
    x: KerasTensor,
    num_heads: int,
    head_dim: int,
    scales: tuple[int, ...] = (5,),
    qkv_bias: bool = False,
    padding: str | Pads | None = None,
    epsilon: float = 1e-5,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """Linear attention of the pixels, and of what is around each of them; the input is added."""
    inputs = keras.Input(x.shape[1:])
    filters, groups = 3 * num_heads * head_dim, 3 * num_heads
    plain: dict[str, Any] = {"activation": None, "batch_norm": False, "use_bias": qkv_bias}
    qkv = conv_bn_act(inputs, filters, 1, name="qkv", **plain)
    parts = [qkv]
    for i, size in enumerate(scales):
        own: dict[str, Any] = {"depthwise": True, "padding": padding, **plain}
        y = conv_bn_act(qkv, filters, size, name=f"depthwise.{i}", **own)
        y = conv_bn_act(y, filters, 1, groups=groups, name=f"pointwise.{i}", **plain)
        parts.append(y)
    y = layers.Concatenate(name="concat")(parts) if scales else qkv
    y = relu_attention(y, num_heads * len(parts), epsilon, name="attention")
    y = conv_bn_act(y, x.shape[-1], 1, activation=None, name="proj", **conv)
    y = layers.Add(name="residual")([inputs, y])
    return keras.Model(inputs, y, name=name)(x)


class HiddenNormClassifier(Pattern):
    """(B, C, H, W) → (B, classes): logits through a hidden layer that is normalized."""

    keras = "hidden_norm_classifier"
    main = "dense"
    before = ("Classifier",)

    def onnx(self, op: Ops, x: Var) -> Expr:
        y: Expr = op.GlobalAveragePooling2D(x, role="pool")
        y = op.Dense(y, role="hidden", units=p.hidden, use_bias=p.hidden_bias)
        y = op.LayerNorm(y, role="norm", epsilon=p.epsilon)
        y = any_of(
            op.Activation(y, role="act", activation=p.activation),
            op.ApproximateGelu(y, role="act", activation=p.activation),
        )
        return op.Dense(y, role="dense", units=p.num_classes, use_bias=True)


def hidden_norm_classifier(
    x: KerasTensor,
    num_classes: int,
    hidden: int,
    hidden_bias: bool = False,
    activation: str = "hard_silu",
    epsilon: float = 1e-5,
    dropout: float = 0.0,
    classifier_activation: str | None = None,
    *,
    name: str,
) -> KerasTensor:
    """Global average pooling, a normalized hidden layer and a linear one: logits."""
    x = layers.GlobalAveragePooling2D(name=f"{name}_pool")(x)
    x = layers.Dense(hidden, use_bias=hidden_bias, name=f"{name}_hidden")(x)
    x = layers.LayerNormalization(epsilon=epsilon, name=f"{name}_norm")(x)
    if activation in ("gelu_tanh", "gelu_sigmoid"):
        x = approximate_gelu(x, activation)
    else:
        x = layers.Activation(activation, name=f"{name}_act")(x)
    if dropout:
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return layers.Dense(num_classes, classifier_activation, name=name)(x)
