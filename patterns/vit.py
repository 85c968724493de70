"""ViT's input (arXiv:2010.11929): patches, learned tokens and positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.ir.block import Block
from onnx2mvit.ir.layout import plain
from onnx2mvit.ir.window import window_of
from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, p, require

from .tokens import class_token, position_embedding

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers, ops

Shape = tuple[int | None, ...]


class ImageToTokens(Pattern):
    """(B, d, H, W) → (B, H·W, d), row by row."""

    keras = "image_to_tokens"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Rearrange("b d h w -> b (h w) d", x)


def image_to_tokens(x: KerasTensor) -> KerasTensor:
    """(B, H, W, d) → (B, H·W, d): a token for every place, row by row."""
    return layers.Reshape((-1, x.shape[-1]))(x)


def tokens_to_image(x: KerasTensor, image: KerasTensor) -> KerasTensor:
    """(B, H·W, d) → (B, H, W, d) with the size of `image`: the inverse of image_to_tokens."""
    return layers.Reshape((*image.shape[1:3], x.shape[-1]))(x)


def tokens_to_image_any_size() -> None:
    """For images of any size: what takes the place of `tokens_to_image`."""

    @keras.saving.register_keras_serializable("onnx2mvit")
    class TokensToImage(layers.Layer):
        """(B, H·W, d) → (B, H, W, d) with the size of an image."""

        def call(self, inputs: list[KerasTensor]) -> KerasTensor:
            x, image = inputs
            return ops.reshape(x, (-1, *ops.shape(image)[1:3], x.shape[-1]))

        def compute_output_shape(self, shapes: list[Shape]) -> Shape:
            tokens, image = shapes
            return (*image[:-1], tokens[-1])

    def tokens_to_image(x: KerasTensor, image: KerasTensor) -> KerasTensor:
        """(B, H·W, d) → (B, H, W, d) with the size of `image`: the inverse of image_to_tokens."""
        return TokensToImage()([x, image])


class TokensToImage(Pattern):
    """(B, n + H·W, d) → (B, d, H, W): the inverse of ImageToTokens, without n tokens before it.

    A token is a square of the network's image.
    """

    keras = "image_of_patches"
    last = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        own: dict[str, Any] = {"h": p._rows, "w": p._columns}
        patches = op.Slice(x, role="patches", axis=1, start=p.prefix_tokens)
        return any_of(
            op.Rearrange("b (h w) d -> b d h w", patches, **own),
            op.Rearrange("b (h w) d -> b d h w", x, **own),
        )

    def params(self, m: Match) -> dict[str, Any]:
        _, tokens, _ = m.shape("x", 3)
        last = (m.prefix_tokens or 0) + m._rows * m._columns
        require(last == tokens, "tokens after those of the image are left out")
        return stride_of_tokens(m, (m._rows, m._columns))


class TokensToPixels(Pattern):
    """(B, H·W, d) → (B, H, W, d): tokens as an image whose channels stay last.

    A token is a square of the network's image.
    """

    keras = "image_of_patches"
    last = True
    order = staticmethod(plain)

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Rearrange("b (h w) d -> b h w d", x, h=p._rows, w=p._columns)

    def params(self, m: Match) -> dict[str, Any]:
        m.shape("x", 3)
        return stride_of_tokens(m, (m._rows, m._columns))


def stride_of_tokens(m: Match, grid: tuple[int, int]) -> dict[str, Any]:
    """Of how many pixels of the network's image a token is, where the block takes tokens."""
    if len(m.x.shape) == 4:
        return {}
    image = m.graph.inputs[0].shape or ()
    require(len(image) == 4, "the network's input is no image")
    stride = image[2] // grid[0]
    require(image[2:] == (grid[0] * stride, grid[1] * stride), "tokens are no parts of the image")
    return {"stride": stride}


def image_of_patches(
    x: KerasTensor, stride: int, prefix_tokens: int = 0, input_shape: tuple[int, ...] = ()
) -> KerasTensor:
    """(B, n + N, C) → (B, H, W, C), without the tokens before those of the image."""
    if None in input_shape:
        raise ValueError(f"tokens become an image, and input_shape {input_shape} is not in numbers")
    if prefix_tokens:
        x = x[:, prefix_tokens:]
    return image_of_tokens(x, stride, input_shape)


def image_of_tokens(x: KerasTensor, stride: int, input_shape: tuple[int, ...]) -> KerasTensor:
    """(B, N, C) → (B, H, W, C): a token for each square of an image is a pixel."""
    height, width = input_shape[0] // stride, input_shape[1] // stride
    return layers.Reshape((height, width, x.shape[-1]))(x)


class PatchEmbedding(Pattern):
    """(B, C, H, W) → (B, N, d) with N patches (arXiv:2010.11929, section 3.1).

    The linear layer on the pixels of a patch is a convolution whose stride is its kernel. What
    the patches do not fill at the right and at the bottom is left out.
    """

    keras = "patch_embedding"
    main = "projection"
    before = ("ConvBnAct",)

    def onnx(self, op: Ops, x: Var) -> Expr:
        own = {"filters": p.dim, "use_bias": p.use_bias, "dilation": 1, "groups": 1}
        step = {"kernel_size": p.patch_size, "strides": p.patch_size}
        y = op.Conv2D(x, role="projection", **own, **step)
        return op.ImageToTokens(y, role="tokens")

    def params(self, m: Match) -> dict[str, Any]:
        pads = window_of(m.projection.matched[0]).padded
        pads_elsewhere = m.projection.params.get("padding") == "same"
        require(not pads and not pads_elsewhere, "it pads the image")
        require(m.patch_size > 1, "its patches are pixels")
        return {}


def patch_embedding(
    x: KerasTensor, dim: int, patch_size: int, use_bias: bool = True, *, name: str
) -> KerasTensor:
    """(B, H, W, C) → (B, N, dim): a linear layer on the pixels of each patch."""
    x = layers.Conv2D(dim, patch_size, strides=patch_size, use_bias=use_bias, name=name)(x)
    return image_to_tokens(x)


class ViTEmbeddings(Pattern):
    """(B, C, H, W) → (B, n + N, d) with N patches (arXiv:2010.11929, equation 1).

    There are n tokens before the patches, or none. They have positions of their own, or, as in
    DeiT III (arXiv:2204.07118), the patches alone have.
    """

    keras = "vit_embeddings"
    nested = True
    style = ("use_bias",)

    def onnx(self, op: Ops, x: Var) -> Expr:
        patches = op.PatchEmbedding(x, role="patch_embedding")
        tokens = op.ClassToken(patches, role="class_token")
        positions_of_all = op.PositionEmbedding(tokens, role="position_embedding")
        positions = op.PositionEmbedding(patches, role="position_embedding")
        tokens_without = op.ClassToken(positions, role="class_token")
        return any_of(positions_of_all, tokens_without, positions)

    def params(self, m: Match) -> dict[str, Any]:
        *_, height, width = m.shape("x", 4)
        size = m.patch_embedding.patch_size
        rows, columns = height // size, width // size
        tokens = m.class_token.num_tokens if m.class_token is not None else 0
        with_position = m.position_embedding.num_positions > rows * columns
        # ml-cvnets' stem, whose positions are resampled in another way.
        after_stem = not with_position and m.x not in m.graph.inputs
        require(not after_stem, "patches alone have positions, and are not of an image")
        return {
            **m.patch_embedding.params,
            "grid": (rows, columns),
            **({"prefix_tokens": tokens} if tokens and with_position else {}),
            **({"tokens_without_position": tokens} if tokens and not with_position else {}),
        }

    def windows(self, block: Block) -> tuple[int, ...]:
        return ()  # positions are resampled


def vit_embeddings(
    x: KerasTensor,
    dim: int,
    patch_size: int,
    grid: tuple[int, int],
    prefix_tokens: int = 0,
    tokens_without_position: int = 0,
    use_bias: bool = True,
    *,
    name: str,
) -> KerasTensor:
    """Patches as tokens, learned tokens before them, and positions for a `grid` of patches."""
    inputs = keras.Input(x.shape[1:])
    y = patch_embedding(inputs, dim, patch_size, use_bias=use_bias, name="patch_embedding")
    if prefix_tokens:
        y = class_token(y, prefix_tokens, name="class_token")
    y = position_embedding(
        y,
        prefix_tokens + grid[0] * grid[1],
        grid=grid,
        patch_size=patch_size,
        image=inputs,
        name="position_embedding",
    )
    if tokens_without_position:
        y = class_token(y, tokens_without_position, name="class_token")
    return keras.Model(inputs, y, name=name)(x)
