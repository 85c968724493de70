"""Swin (arXiv:2103.14030): attention in windows, which are shifted in every second block.

What one exporter keeps as an image (B, H, W, C), as ml-cvnets' has it, another writes as tokens
(B, H·W, C): in the MLP alone (timm), or everywhere (Hugging Face).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from onnx2mvit.base.numbers import ratio
from onnx2mvit.ir.layout import plain
from onnx2mvit.matcher import (
    Expr,
    Match,
    Ops,
    Pattern,
    Var,
    any_of,
    constant,
    one_or_more,
    p,
    require,
    scalar,
)

from .biased_attention import biased_self_attention
from .conv import STYLE, Conv, conv_bn_act

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers, ops


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


class SwinBlock(Pattern):
    """arXiv:2103.14030, equation 3: attention in windows and an MLP, each with a residual.

    Where windows are shifted, the image is rolled before and back after.
    """

    keras = "swin_block"
    nested = True
    inner = True
    order = staticmethod(plain)
    style = ("activation", "qkv_bias", "epsilon")

    def onnx(self, op: Ops, x: Var) -> Expr:
        single: dict[str, Any] = {"p": p.window_size, "q": p.window_size}
        square = {**single, "r": p._rows, "c": p._columns}
        y: Expr = op.LayerNorm(x, role="norm1", epsilon=p.epsilon)
        image = any_of(y, op.Rearrange("b (h w) d -> b h w d", y))
        rolled = op.Roll(image, axes=(1, 2), shifts=p._there)
        windows = any_of(
            op.Rearrange("b (r p) (c q) d -> (b r c) (p q) d", any_of(rolled, y), **square),
            op.Rearrange("b (r p c q) d -> (b r c) (p q) d", y, **square),
            op.Rearrange("b p q d -> b (p q) d", y, **single),  # a single window
            y,
        )
        own = {**p("num_heads", "qkv_bias", "absolute", "mask_windows"), "grid": p._biased}
        y = op.BiasedSelfAttention(windows, role="attn", shift=p._shift, windows=p._windows, **own)
        whole = op.Rearrange("(b r c) (p q) d -> b (r p) (c q) d", y, **square)
        back = op.Roll(whole, axes=(1, 2), shifts=p._back)
        y = any_of(
            back,
            whole,
            op.Rearrange("b h w d -> b (h w) d", back),
            op.Rearrange("(b r c) (p q) d -> b (r p c q) d", y, **square),
            op.Rearrange("b (p q) d -> b p q d", y, **single),
            y,
        )
        attended = op.Add(x, y)
        tokens = any_of(attended, op.Rearrange("b h w d -> b (h w) d", attended))
        y = op.LayerNorm(tokens, role="norm2", epsilon=p.epsilon)
        y = op.Dense(y, role="mlp_in", use_bias=True)
        y = op.Activation(y, role="act", activation=p.activation)
        y = op.Dense(y, role="mlp_out", use_bias=True)
        y = op.Add(tokens, y)
        return any_of(op.Rearrange("b (h w) d -> b h w d", y), y)

    def params(self, m: Match) -> dict[str, Any]:
        dim, pixels = m.x.shape[-1], m.shape("attn", 3)[1]
        size = m.window_size or math.isqrt(pixels)
        require(pixels == size * size > 1, "its windows are not square")
        require(m._biased in (None, (size, size)), "the bias is not for its windows")
        require(not {"key_dim", "value_dim", "stride"} & {*m.attn.params}, "its heads are others")
        windows = (m._rows or 1, m._columns or 1)
        there, back = m._there or (0, 0), m._back or (0, 0)
        shift = m._shift or (-there[0] if m.mask_windows else 0)
        mlp_ratio = ratio(m.mlp_in.units, dim)
        require(m.mlp_out.units == dim, f"mlp_out makes {m.mlp_out.units} channels of {dim}")
        require(mlp_ratio is not None, f"{m.mlp_in.units} is no multiple of {dim} channels")
        require(windows == (m._windows or windows), f"the mask is for {m._windows} windows")
        require(m.mask_windows in (None, windows[0] * windows[1]), "the mask is for other windows")
        require(there == (-shift, -shift), f"the image is rolled by {there}, the mask says {shift}")
        grid = (windows[0] * size, windows[1] * size)
        turns = zip(there, back, grid, strict=True)
        whole = all((first + second) % length == 0 for first, second, length in turns)
        require(whole, f"the image is rolled by {there}, and back by {back}")
        ranks = (len(m.x.shape), len(m.norm2.output.shape), len(m.root.output.shape or ()))
        require(ranks in FORMS, "its input and output are of different form")
        return {
            "grid": grid,
            "window_size": size,
            "shift": shift,
            **({"pairwise": True} if m._biased is None else {}),
            "mlp_ratio": mlp_ratio,
            **FORMS[ranks],
        }


# The ranks of what it takes, of what the MLP takes, and of what it gives.
FORMS: dict[tuple[int, int, int], dict[str, Any]] = {
    (4, 4, 4): {},
    (4, 3, 4): {"flat_mlp": True},
    (4, 3, 3): {"flat_mlp": True, "flat_output": True},
    (3, 3, 3): {},
}


def swin_block(
    x: KerasTensor,
    grid: tuple[int, int],
    num_heads: int,
    window_size: int,
    shift: int = 0,
    mlp_ratio: float = 4,
    activation: str = "gelu",
    qkv_bias: bool = True,
    absolute: bool = False,
    pairwise: bool = False,
    mask_windows: int | None = None,
    epsilon: float = 1e-5,
    flat_mlp: bool = False,
    flat_output: bool = False,
    dropout: float = 0.0,
    *,
    name: str,
) -> KerasTensor:
    """Attention in windows of an image with a `grid` of pixels, and an MLP.

    The image may come as tokens (B, H·W, C). The bias is learned for each offset in a window, for
    each `absolute` one, or, if `pairwise`, for each pair of pixels. The mask of shifted windows is
    the paper's, or one of its own for so many windows.
    """
    rows, columns = (length // window_size for length in grid)
    if (rows * window_size, columns * window_size) != grid:
        raise ValueError(f"{name}: windows of {window_size} do not fill {grid[0]}×{grid[1]} pixels")
    if (rows == 1 or columns == 1) and not mask_windows:
        if shift and rows != columns:
            raise ValueError(f"{name}: {rows}×{columns} windows cannot be shifted")
        shift = 0  # there is but one
    bias: dict[str, Any] = {"grid": (window_size, window_size)}
    if pairwise:
        bias = {}
    if absolute:
        bias["absolute"] = True
    mask: dict[str, Any] = {"shift": shift, "windows": (rows, columns)}
    if mask_windows is not None and shift:
        if rows * columns != mask_windows:
            raise ValueError(f"{name}: its mask is for {mask_windows} windows alone")
        mask = {"mask_windows": mask_windows}
    inputs = keras.Input(x.shape[1:])
    dim = x.shape[-1]
    y = layers.LayerNormalization(epsilon=epsilon, name="norm1")(inputs)
    if shift:
        y = ops.reshape(y, (-1, *grid, dim))
        y = ops.roll(y, (-shift, -shift), axis=(1, 2))
    y = ops.reshape(y, (-1, rows, window_size, columns, window_size, dim))
    y = ops.reshape(ops.transpose(y, (0, 1, 3, 2, 4, 5)), (-1, window_size**2, dim))
    y = biased_self_attention(y, num_heads, qkv_bias=qkv_bias, **bias, **mask, name="attn")
    y = ops.reshape(y, (-1, rows, columns, window_size, window_size, dim))
    y = ops.reshape(ops.transpose(y, (0, 1, 3, 2, 4, 5)), (-1, *grid, dim))
    if shift:
        y = ops.roll(y, (shift, shift), axis=(1, 2))
    y = ops.reshape(y, (-1, *x.shape[1:]))
    if dropout:
        y = layers.Dropout(dropout, name="dropout_attn")(y)
    x1 = layers.Add(name="add_attn")([inputs, y])
    if flat_mlp:
        x1 = ops.reshape(x1, (-1, grid[0] * grid[1], dim))
    y = layers.LayerNormalization(epsilon=epsilon, name="norm2")(x1)
    y = layers.Dense(round(dim * mlp_ratio), name="mlp_in")(y)
    y = layers.Activation(activation, name="act")(y)
    y = layers.Dense(dim, name="mlp_out")(y)
    if dropout:
        y = layers.Dropout(dropout, name="dropout_mlp")(y)
    y = layers.Add(name="add_mlp")([x1, y])
    if flat_mlp and not flat_output:
        y = ops.reshape(y, (-1, *grid, dim))
    return keras.Model(inputs, y, name=name)(x)


class SwinStage(Pattern):
    """Blocks of one size, of which every second is shifted by half a window if there are several.

    arXiv:2103.14030, figure 3.
    """

    keras = "swin_stage"
    nested = True
    order = staticmethod(plain)
    style = ("window_size",)

    def onnx(self, op: Ops, x: Var) -> Expr:
        own = p("num_heads", "window_size", "mlp_ratio", "activation", "qkv_bias", "epsilon")
        own |= p("absolute", "pairwise", "mask_windows")
        return one_or_more("SwinBlock", x, role="blocks", grid=p._grid, **own)

    def params(self, m: Match) -> dict[str, Any]:
        single = m._grid == (m.window_size, m.window_size)
        shifts = [
            0 if single else number % 2 * (m.window_size // 2) for number in range(len(m.blocks))
        ]
        found = [block.shift for block in m.blocks]
        require(found == shifts, f"its blocks are shifted by {found}, not {shifts}")
        flat = {"flat_mlp": True} if m.blocks[0].params.get("flat_mlp") else {}
        for block in m.blocks[:-1]:
            differs = block.params.keys() ^ m.blocks[0].params.keys()
            require(differs <= {"mask_windows"}, "its blocks differ in form")
        return {
            "depth": len(m.blocks),
            **flat,
            **({"flat_output": True} if m.blocks[-1].params.get("flat_output") else {}),
            **stride_of_tokens(m, m._grid),
        }


def stride_of_tokens(m: Match, grid: tuple[int, int]) -> dict[str, Any]:
    """Of how many pixels of the network's image a token is, where the block takes tokens."""
    if len(m.x.shape) == 4:
        return {}
    image = m.graph.inputs[0].shape or ()
    require(len(image) == 4, "the network's input is no image")
    stride = image[2] // grid[0]
    require(image[2:] == (grid[0] * stride, grid[1] * stride), "tokens are no parts of the image")
    return {"stride": stride}


def swin_stage(
    x: KerasTensor,
    depth: int,
    num_heads: int,
    window_size: int = 7,
    flat_output: bool = False,
    stride: int | None = None,
    input_shape: tuple[int, ...] = (),
    dropout: float = 0.0,
    *,
    name: str,
    **block: Any,
) -> KerasTensor:
    """Blocks on an image, whose windows are shifted in every second."""
    if None in x.shape[1:]:
        raise ValueError(f"{name}: the size of the image must be known")
    y = inputs = keras.Input(x.shape[1:])
    grid = tuple(inputs.shape[1:3])
    if stride is not None:  # they are tokens, one for each such square of the image
        grid = tuple(length // stride for length in input_shape[:2])
        if grid[0] * grid[1] != x.shape[1]:
            raise ValueError(f"{name}: {grid[0]}×{grid[1]} tokens expected, not {x.shape[1]}")
    for i in range(depth):
        if flat_output and i == depth - 1:
            block["flat_output"] = True
        shift = i % 2 * (window_size // 2)
        y = swin_block(
            y,
            grid,
            num_heads,
            window_size,
            shift=shift,
            dropout=dropout,
            name=f"blocks.{i}",
            **block,
        )
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
        even, odd = every_second(image, "even", 0, 1), every_second(image, "odd", 1, 1)
        parts = (
            every_second(even, "top_left", 0, 2),
            every_second(odd, "bottom_left", 0, 2),
            every_second(even, "top_right", 1, 2),
            every_second(odd, "bottom_right", 1, 2),
        )
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
        require(rank == 3 or len(merged) == 4, "it makes tokens of an image")
        return {
            **stride_of_tokens(m, grid),
            **({"flat_output": True} if len(merged) == 3 else {}),
        }


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
        grid = tuple(length // stride for length in input_shape[:2])
        y = layers.Reshape((*grid, x.shape[-1]))(y)
    if y.shape[1] % 2 or y.shape[2] % 2:
        raise ValueError(f"{name}: {y.shape[1]}×{y.shape[2]} pixels cannot be halved")
    parts = [y[:, ::2, ::2], y[:, 1::2, ::2], y[:, ::2, 1::2], y[:, 1::2, 1::2]]
    y = layers.Concatenate(name="concat")(parts)
    if flat_output:
        y = layers.Reshape((-1, y.shape[-1]))(y)
    y = layers.LayerNormalization(epsilon=epsilon, name="norm")(y)
    y = layers.Dense(dim, use_bias=False, name="reduction")(y)
    return keras.Model(inputs, y, name=name)(x)
