"""MobileViT (arXiv:2110.02178): a transformer over unfolded patches, between convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, maybe, one_or_more, p, require

from .attention import transformer_layer
from .conv import STYLE, Conv, PointwiseConv, conv_bn_act

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers, ops

Shape = tuple[int | None, ...]


SQUARE = p.patch_size.where(lambda size: size > 1)
PATCHES: dict[str, Any] = {"p": SQUARE, "q": SQUARE, "r": p._rows, "c": p._columns}


class Unfold(Pattern):
    """(B, d, H, W) → (B·P, N, d) with P pixels a patch and N patches (arXiv:2110.02178, 3.1).

    Where patches do not fill the image, it is stretched first (bilinear, half-pixel centres).
    """

    keras = "unfold"
    inner = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        whole = maybe(op.Resize(x, role="stretch", mode="linear"))
        return op.Rearrange("b d (r p) (c q) -> (b p q) (r c) d", whole, **PATCHES)

    def params(self, m: Match) -> dict[str, Any]:
        check_filled(m, m.shape("x", 4)[2:])
        return {}


def check_filled(m: Match, size: Sequence[int]) -> None:
    """Requires that an image of this size is stretched so far that patches fill it, not further."""
    patch, whole = m.patch_size, [count * m.patch_size for count in (m._rows, m._columns)]
    filled = [-(-length // patch) * patch for length in size]
    require(whole == filled, "patches do not fill the image")


def unfold(x: KerasTensor, patch_size: int) -> KerasTensor:
    """(B, H, W, d) → (B·P, N, d): one sequence for each of the P pixels of a patch."""
    _, height, width, dim = x.shape
    rows, columns = -(-height // patch_size), -(-width // patch_size)
    whole = (rows * patch_size, columns * patch_size)
    if whole != (height, width):
        # Patches must fill the image: it is stretched here, and shrunk after fold.
        x = ops.image.resize(x, whole, interpolation="bilinear")
    x = ops.reshape(x, (-1, rows, patch_size, columns, patch_size, dim))
    x = ops.transpose(x, (0, 2, 4, 1, 3, 5))
    return ops.reshape(x, (-1, rows * columns, dim))


def unfold_any_size() -> None:
    """For images of any size: what takes the place of `unfold`."""

    @keras.saving.register_keras_serializable("onnx2mvit")
    class Unfold(layers.Layer):
        """(B, H, W, d) → (B·P, N, d), for any height and width."""

        def __init__(self, patch_size: int, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.patch_size = patch_size

        def call(self, x: KerasTensor) -> KerasTensor:
            p = self.patch_size
            _, height, width, dim = ops.shape(x)
            rows, columns = -(-height // p), -(-width // p)
            # Patches must fill the image; where they do, this changes nothing.
            x = ops.image.resize(x, (rows * p, columns * p), interpolation="bilinear")
            x = ops.reshape(x, (-1, rows, p, columns, p, dim))
            x = ops.transpose(x, (0, 2, 4, 1, 3, 5))
            return ops.reshape(x, (-1, rows * columns, dim))

        def compute_output_shape(self, shape: Shape) -> Shape:
            return (None, None, shape[-1])

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "patch_size": self.patch_size}

    def unfold(x: KerasTensor, patch_size: int) -> KerasTensor:
        """(B, H, W, d) → (B·P, N, d): one sequence for each of the P pixels of a patch."""
        return Unfold(patch_size, name="unfold")(x)


class Fold(Pattern):
    """(B·P, N, d) → (B, d, H, W), the inverse of Unfold (arXiv:2110.02178, section 3.1).

    Where the image was stretched before, it is shrunk to its own size again.
    """

    keras = "fold"
    inner = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = op.Rearrange("(b p q) (r c) d -> b d (r p) (c q)", x, **PATCHES)
        resized = op.Resize(y, role="shrink", mode="linear")
        return any_of(y, resized)

    def params(self, m: Match) -> dict[str, Any]:
        check_filled(m, (m.root.output.shape or ())[2:])
        return {}


def fold(x: KerasTensor, image: KerasTensor, patch_size: int) -> KerasTensor:
    """(B·P, N, d) → (B, H, W, d) with the size of `image`: the inverse of unfold."""
    _, height, width, _ = image.shape
    rows, columns = -(-height // patch_size), -(-width // patch_size)
    x = ops.reshape(x, (-1, patch_size, patch_size, rows, columns, x.shape[-1]))
    x = ops.transpose(x, (0, 3, 1, 4, 2, 5))
    x = ops.reshape(x, (-1, rows * patch_size, columns * patch_size, x.shape[-1]))
    if x.shape[1:3] != (height, width):
        x = ops.image.resize(x, (height, width), interpolation="bilinear")
    return x


def fold_any_size() -> None:
    """For images of any size: what takes the place of `fold`."""

    @keras.saving.register_keras_serializable("onnx2mvit")
    class Fold(layers.Layer):
        """(B·P, N, d) → (B, H, W, d) with the size of an image: the inverse of Unfold."""

        def __init__(self, patch_size: int, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.patch_size = patch_size

        def call(self, inputs: list[KerasTensor]) -> KerasTensor:
            x, image = inputs
            p, dim = self.patch_size, x.shape[-1]
            _, height, width, _ = ops.shape(image)
            rows, columns = -(-height // p), -(-width // p)
            x = ops.reshape(x, (-1, p, p, rows, columns, dim))
            x = ops.transpose(x, (0, 3, 1, 4, 2, 5))
            x = ops.reshape(x, (-1, rows * p, columns * p, dim))
            return ops.image.resize(x, (height, width), interpolation="bilinear")

        def compute_output_shape(self, shapes: list[Shape]) -> Shape:
            tokens, image = shapes
            return (*image[:-1], tokens[-1])

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "patch_size": self.patch_size}

    def fold(x: KerasTensor, image: KerasTensor, patch_size: int) -> KerasTensor:
        """(B·P, N, d) → (B, H, W, d) with the size of `image`: the inverse of unfold."""
        return Fold(patch_size, name="fold")([x, image])


class MobileViTBlock(Pattern):
    """arXiv:2110.02178, section 3.1 and figure 1b; some configurations have no fusion."""

    keras = "mobilevit_block"
    nested = True
    style = ("activation", "attention_bias", "epsilon")

    def onnx(self, op: Ops, x: Var) -> Expr:
        conv = {"activation": p.activation, **STYLE}
        same = {"kernel_size": p.kernel_size, "strides": 1, "dilation": 1, **conv}
        layer = p("num_heads", "mlp_ratio", "activation", "attention_bias", "epsilon")
        y: Expr = Conv(x, role="local", **same)
        plain = {"batch_norm": False, "use_bias": False, "activation": None}
        y = PointwiseConv(y, role="local_1x1", filters=p.dim, **plain)
        y = op.Unfold(y, role="unfold", patch_size=p.patch_size)
        # ViT's further options are not this network's.
        bare: dict[str, Any] = {"gelu": None, "layer_scale": None, "causal": lambda how: not how}
        y = one_or_more("TransformerLayer", y, role="layer", **bare, **layer)
        y = op.LayerNorm(y, role="norm", epsilon=p.epsilon)
        y = op.Fold(y, role="fold", patch_size=p.patch_size)
        y = PointwiseConv(y, role="project", filters=p.filters, **conv)
        fused = Conv(op.Concat(x, y, axis=1), role="fusion", filters=p.filters, **same)
        return any_of(fused, y)

    def params(self, m: Match) -> dict[str, Any]:
        require(m.unfold.inputs[0].shape == m.fold.output.shape, "it folds to another size")
        channels = m.shape("x", 4)[1]
        require(m.local.filters == channels, "local has other filters than its input channels")
        return {"depth": len(m.layer), "fusion": m.fusion is not None}


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
