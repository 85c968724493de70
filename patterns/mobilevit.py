"""MobileViT (arXiv:2110.02178): a transformer over unfolded patches, between convolutions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, maybe, one_or_more, require

from .attention import transformer_layer
from .conv import FULL, STYLE, conv_bn_act

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers, ops

Shape = tuple[int | None, ...]


class Unfold(Pattern):
    """(B, d, H, W) → (B·P, N, d) with P pixels a patch and N patches (arXiv:2110.02178, 3.1).

    Where patches do not fill the image, it is stretched first (bilinear, half-pixel centres).
    """

    keras = "unfold"
    inner = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        whole = maybe(op.Resize(x, role="stretch", mode="linear"))
        y = op.Transpose(op.Reshape(whole, role="rows"), perm=(0, 2, 1, 3))
        y = op.Transpose(op.Reshape(y, role="patches"), perm=(0, 3, 2, 1))
        return op.Reshape(y, role="tokens")

    def params(self, m: Match) -> dict[str, Any]:
        _, patch, columns, patch_width = m.shape("rows", 4)
        require(patch == patch_width, f"a patch is {patch}×{patch_width}, not square")
        batch, dim, *size = m.shape("x", 4)
        height, width = m.shape("stretch", 4)[2:] if m.stretch is not None else size
        rows = height // patch
        require([height, width] == fill(size, patch), "patches do not fill the image")
        require(columns * patch == width, "patches do not fill the image")
        require(m.rows.output.shape[0] == batch * dim * rows, "the rows are taken apart otherwise")
        require(
            m.patches.output.shape == (batch, dim, rows * columns, patch * patch)
            and m.tokens.output.shape == (batch * patch * patch, rows * columns, dim),
            "the pixels of a patch are ordered otherwise",
        )
        return {"patch_size": patch}


def fill(size: list[int], patch_size: int) -> list[int]:
    """The smallest height and width that patches fill."""
    return [-(-length // patch_size) * patch_size for length in size]


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
        y = op.Transpose(op.Reshape(x, role="patches"), perm=(0, 3, 2, 1))
        y = op.Transpose(op.Reshape(y, role="rows"), perm=(0, 2, 1, 3))
        return maybe(op.Resize(op.Reshape(y, role="whole"), role="shrink", mode="linear"))

    def params(self, m: Match) -> dict[str, Any]:
        batch, dim, height, width = m.shape("whole", 4)
        _, columns, patch, patch_width = m.shape("rows", 4)
        rows = height // patch
        require(patch == patch_width, f"a patch is {patch}×{patch_width}, not square")
        require((rows * patch, columns * patch) == (height, width), "patches do not fill the image")
        size = list(m.root.output.shape or ())[2:]
        require(fill(size, patch) == [height, width], "the image is shrunk to another size")
        require(m.rows.output.shape[0] == batch * dim * rows, "the rows are put together otherwise")
        require(
            m.patches.output.shape == (batch, patch * patch, rows * columns, dim)
            and m.x.shape == (batch * patch * patch, rows * columns, dim),
            "the pixels of a patch are ordered otherwise",
        )
        return {"patch_size": patch}


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
