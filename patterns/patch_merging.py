"""Pixels of Swin (arXiv:2103.14030, section 3.1): patches, and four pixels that become one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.ir.block import Block
from onnx2mvit.ir.layout import plain
from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, constant, p, require, scalar

from .conv import STYLE, Conv, conv_bn_act
from .vit import image_of_tokens, stride_of_tokens

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers


class NormalizedPatchEmbedding(Pattern):
    """(B, 3, H, W) → (B, H/4, W/4, C): a convolution and a normalization of each patch."""

    keras = "normalized_patch_embedding"
    nested = True
    gives = staticmethod(plain)

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = Conv(
            x, role="proj", filters=p.dim, activation=None, **STYLE, **p("kernel_size", "strides")
        )
        y = op.Transpose(y, perm=(0, 2, 3, 1))
        return op.LayerNorm(y, role="norm", epsilon=p.epsilon)

    def params(self, m: Match) -> dict[str, Any]:
        require(m.strides > 1, "its patches are pixels")
        return {}


def normalized_patch_embedding(
    x: KerasTensor,
    dim: int,
    kernel_size: int = 4,
    strides: int = 4,
    epsilon: float = 1e-5,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """(B, H, W, 3) → (B, H/4, W/4, dim): a linear layer on each patch, and a normalization."""
    inputs = keras.Input(x.shape[1:])
    y = conv_bn_act(inputs, dim, kernel_size, strides, activation=None, name="proj", **conv)
    y = layers.LayerNormalization(epsilon=epsilon, name="norm")(y)
    return keras.Model(inputs, y, name=name)(x)


class PatchMerging(Pattern):
    """(B, H, W, C) → (B, H/2, W/2, C'): four pixels become one (arXiv:2103.14030, section 3.1)."""

    keras = "patch_merging"
    nested = True
    order = staticmethod(plain)
    style = ("epsilon",)

    def onnx(self, op: Ops, x: Var) -> Expr:
        def every_second(y: Expr, name: str, start: int, axis: int) -> Expr:
            which = scalar(f"{name}_start", start), constant(f"{name}_end")
            return op.Slice(y, *which, scalar(f"{name}_axis", axis), scalar(f"{name}_step", 2))

        own: dict[str, Any] = {"r": p._rows, "c": p._columns, "p": 2, "q": 2}
        tokens = op.Rearrange("b (h w) d -> b h w d", x, h=p._height, w=p._width)
        image = any_of(x, tokens)
        # Exporters may take the same rows twice.
        parts = [
            every_second(every_second(image, f"rows_{at}", at % 2, 1), f"part_{at}", at // 2, 2)
            for at in range(4)
        ]
        together = op.Concat(*parts, axis=lambda axis: axis in (-1, 3))
        y: Expr = any_of(
            together,
            op.Rearrange("b r c f -> b (r c) f", together),
            op.Rearrange("b (r p) (c q) d -> b r c (q p d)", x, **own),
            op.Rearrange("b (r p c q) d -> b r c (q p d)", x, **own),
        )
        y = op.LayerNorm(y, role="norm", epsilon=p.epsilon)
        return op.Dense(y, role="reduction", units=p.dim, use_bias=False)

    def params(self, m: Match) -> dict[str, Any]:
        *_, channels = m.x.shape
        rank, merged = len(m.x.shape), m.norm.output.shape
        require(merged[-1] == 4 * channels, "it does not join four pixels")
        grid = m.x.shape[1:3]
        if rank == 3:
            grid = (m._height, m._width) if m._height else (2 * m._rows, 2 * m._columns)
        halves = (grid[0] // 2, grid[1] // 2)
        require(merged[1:-1] in (halves, (halves[0] * halves[1],)), "it leaves out pixels")
        return {
            **stride_of_tokens(m, grid),
            **({"flat_output": True} if len(merged) == 3 else {}),
        }

    def windows(self, block: Block) -> tuple[int, ...]:
        return ()  # those of the blocks see to it that they can be halved


def patch_merging(
    x: KerasTensor,
    dim: int,
    epsilon: float = 1e-5,
    stride: int | None = None,
    input_shape: tuple[int, ...] = (),
    flat_output: bool = False,
    *,
    name: str,
) -> KerasTensor:
    """Four pixels of an image become one, with other channels."""
    y = inputs = keras.Input(x.shape[1:])
    if stride is not None:  # they are tokens, one for each such square of the image
        y = image_of_tokens(y, stride, input_shape)
    if y.shape[1] % 2 or y.shape[2] % 2:
        raise ValueError(f"{name}: {y.shape[1]}×{y.shape[2]} pixels cannot be halved")
    parts = [y[:, ::2, ::2], y[:, 1::2, ::2], y[:, ::2, 1::2], y[:, 1::2, 1::2]]
    y = layers.Concatenate(name="concat")(parts)
    if flat_output:
        y = layers.Reshape((-1, y.shape[-1]))(y)
    y = layers.LayerNormalization(epsilon=epsilon, name="norm")(y)
    y = layers.Dense(dim, use_bias=False, name="reduction")(y)
    return keras.Model(inputs, y, name=name)(x)
