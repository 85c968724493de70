"""Swin (arXiv:2103.14030): attention in windows, which are shifted in every second block.

What one exporter keeps as an image (B, H, W, C), as ml-cvnets' has it, another writes as tokens
(B, H·W, C): in the MLP alone (timm), or everywhere (Hugging Face).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.base.numbers import ratio
from onnx2mvit.ir.layout import plain
from onnx2mvit.matcher import (
    Array,
    Expr,
    Match,
    Mismatch,
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

from .conv import STYLE, Conv, conv_bn_act

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers, ops

HIDDEN = -100  # what the mask adds to the scores of two pixels that are no neighbours


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


class RelativePositionBias(Pattern):
    """Scores (B·n, heads, N, N) of windows of N pixels, plus a learned number for each way from
    one pixel to another, (2w - 1)² of them for each head (arXiv:2103.14030, equation 4).

    It is a parameter without a node: the exporter looked it up in its table, and Hugging Face's
    has the mask in it. Keras: Embedding, one row a way.
    """

    keras = "relative_position_index"
    inner = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Add(x, constant("bias", rank=4))

    def params(self, m: Match) -> dict[str, Any]:
        windows, heads, tokens, others = m.shape("x", 4)
        size, bias = math.isqrt(tokens), m.bias.const
        require(tokens == others == size * size > 1, "it is not added to the scores of windows")
        require(bias.shape[1:] == (heads, tokens, tokens), "it is not one for each pair of pixels")
        plain = self.table(m)[relative_position_index(0, size)].transpose(2, 0, 1)
        hidden = (bias != plain).any(axis=1, keepdims=True)
        masked = np.where(hidden, plain + np.float32(HIDDEN), plain)
        require(np.array_equal(bias, masked), "it is not one number for each way, and a mask")
        if not hidden.any():
            return {"window_size": size}
        require(len(bias) == windows, "it is not one for each window")
        return {"window_size": size, **shift_of(hidden[:, 0], size)}

    def weights(self, m: Match) -> dict[str, Array]:
        return {"embeddings": self.table(m)}

    def table(self, m: Match) -> Array:
        """One row for each way in a window, where the mask hides nothing."""
        _, heads, tokens, _ = m.bias.const.shape
        size = math.isqrt(tokens)
        table = np.empty(((2 * size - 1) ** 2, heads), np.float32)
        table[relative_position_index(0, size)] = m.bias.const.max(axis=0).transpose(1, 2, 0)
        return table


def relative_position_index(x: Any, window_size: int) -> Any:
    """For each pair of pixels in a window the row of the table for the way between them.

    It is added to `x`, zeros that N×N pairs go with.
    """
    row, column = np.indices((window_size, window_size)).reshape(2, -1)
    down, right = (place[:, None] - place + window_size - 1 for place in (row, column))
    return x + (down * (2 * window_size - 1) + right).astype("int32")


class ShiftMask(Pattern):
    """Scores (B·n, heads, N, N), of which those of pixels are lowered that are side by side only
    since the image was rolled (arXiv:2103.14030, section 3.2)."""

    keras = "shift_mask"
    inner = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        y: Expr = op.Rearrange("(b n) h t s -> b n h t s", x)
        y = op.Add(y, constant("mask", rank=5))
        return op.Rearrange("b n h t s -> (b n) h t s", y)

    def params(self, m: Match) -> dict[str, Any]:
        _, _, tokens, _ = m.shape("x", 4)
        mask, size = m.mask.const, math.isqrt(tokens)
        require(mask.shape == (1, m.lengths["n"], 1, tokens, tokens), "it is not one a window")
        require(size * size == tokens, "the windows are not square")
        require(bool(np.isin(mask, (0, HIDDEN)).all()), f"it does not lower scores by {-HIDDEN}")
        return {"window_size": size, **shift_of(mask[0, :, 0] != 0, size)}


def shift_of(hidden: Array, window_size: int) -> dict[str, Any]:
    """The shift, and the rows and columns of windows, of which this is the mask for some images.

    Raises:
        Mismatch: there is none.
    """
    for rows, columns in grids(len(hidden)):
        for shift in range(1, window_size):
            mask = shift_mask(0, (rows, columns), window_size, shift)[:, 0] != 0
            images = hidden.reshape(-1, *mask.shape)
            if (images == mask).all():
                return {"shift": shift, "windows": (rows, columns)}
    raise Mismatch("the mask is not that of shifted windows")


def grids(windows: int) -> Iterator[tuple[int, int]]:
    """So many windows, or those of several images, in at least two rows and two columns."""
    for rows in range(2, windows // 2 + 1):
        for columns in range(2, windows // rows + 1):
            if windows % (rows * columns) == 0:
                yield rows, columns


def shift_mask(x: Any, windows: tuple[int, int], window_size: int, shift: int) -> Any:
    """Scores (B, n, heads, N, N), lowered for two pixels that come from two sides of the image."""
    rolled = [np.arange(n * window_size) >= n * window_size - shift for n in windows]
    side = 2 * rolled[0][:, None] + rolled[1]
    side = side.reshape(windows[0], window_size, windows[1], window_size)
    side = side.transpose(0, 2, 1, 3).reshape(-1, 1, window_size**2)
    return x + np.where(side[..., None] == side[:, :, None], 0, -100).astype("float32")


class WindowAttention(Pattern):
    """(B·n, N, C) → (B·n, N, C): attention within each of n windows of an image.

    arXiv:2103.14030, equation 4: softmax(q·kᵀ/√d + bias)·v.
    """

    keras = "window_attention"
    inner = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        heads: dict[str, Any] = {"h": p.num_heads, "k": p._key_dim}
        biased = {"use_bias": p.qkv_bias}
        query = op.Rearrange("b t (h k) -> b h t k", op.Dense(x, role="query", **biased), **heads)
        key = op.Rearrange("b t (h k) -> b h k t", op.Dense(x, role="key", **biased), **heads)
        value = op.Rearrange("b t (h k) -> b h t k", op.Dense(x, role="value", **biased), **heads)
        y: Expr = op.Mul(op.MatMul(query, key), scalar("scale"))
        y = op.RelativePositionBias(y, role="bias", window_size=p.window_size)
        y = any_of(op.ShiftMask(y, role="mask", window_size=p.window_size), y)
        y = op.MatMul(op.Softmax(y, axis=-1), value)
        y = op.Rearrange("b h t k -> b t (h k)", y, **heads)
        return op.Dense(y, role="proj", use_bias=True)

    def params(self, m: Match) -> dict[str, Any]:
        *_, channels = m.shape("x", 3)
        require(m.proj.units == m.num_heads * m._key_dim == channels, "it changes the channels")
        scale = float(m.scale.const.reshape(()))
        require(math.isclose(scale, m._key_dim**-0.5, rel_tol=1e-5), "the scale is not 1/sqrt(d)")
        masks = [part.params for part in (m.bias, m.mask) if part and "shift" in part.params]
        require(len(masks) < 2, "it has two masks")
        return {key: mask[key] for mask in masks for key in ("shift", "windows")}


def window_attention(
    x: KerasTensor,
    num_heads: int,
    window_size: int,
    qkv_bias: bool = True,
    shift: int = 0,
    windows: tuple[int, int] = (1, 1),
    *,
    name: str,
) -> KerasTensor:
    """Attention within windows (B·n, N, C), with a learned bias for each way between pixels."""
    _, tokens, dim = x.shape
    heads = (-1, tokens, num_heads, dim // num_heads)
    query = layers.Dense(dim, use_bias=qkv_bias, name=f"{name}_query")(x)
    key = layers.Dense(dim, use_bias=qkv_bias, name=f"{name}_key")(x)
    value = layers.Dense(dim, use_bias=qkv_bias, name=f"{name}_value")(x)
    query, key, value = (ops.reshape(y, heads) for y in (query, key, value))
    scores = ops.einsum("bthk,bshk->bhts", query, key) * (dim // num_heads) ** -0.5
    zeros = ops.zeros_like(scores[:1, 0], dtype="int32")
    index = relative_position_index(zeros, window_size)
    bias = layers.Embedding((2 * window_size - 1) ** 2, num_heads, name=f"{name}_bias")(index)
    scores = scores + ops.transpose(bias, (0, 3, 1, 2))
    if shift:
        count = windows[0] * windows[1]
        scores = ops.reshape(scores, (-1, count, num_heads, tokens, tokens))
        scores = shift_mask(scores, windows, window_size, shift)
        scores = ops.reshape(scores, (-1, num_heads, tokens, tokens))
    y = ops.einsum("bhts,bshk->bthk", layers.Softmax()(scores), value)
    return layers.Dense(dim, name=f"{name}_proj")(ops.reshape(y, (-1, tokens, dim)))


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
        square: dict[str, Any] = {"p": p.window_size, "q": p.window_size}
        y: Expr = op.LayerNorm(x, role="norm1", epsilon=p.epsilon)
        image = any_of(y, op.Rearrange("b (h w) d -> b h w d", y))
        rolled = op.Roll(image, axes=(1, 2), shifts=p._there)
        windows = any_of(
            op.Rearrange("b (r p) (c q) d -> (b r c) (p q) d", any_of(rolled, y), **square),
            op.Rearrange("b (r p c q) d -> (b r c) (p q) d", y, **square),
            op.Rearrange("b p q d -> b (p q) d", y, **square),  # a single window
            y,
        )
        own = p("num_heads", "window_size", "qkv_bias", "shift")
        y = op.WindowAttention(windows, role="attn", windows=p._windows, **own)
        whole = op.Rearrange("(b r c) (p q) d -> b (r p) (c q) d", y, **square)
        back = op.Roll(whole, axes=(1, 2), shifts=p._back)
        y = any_of(
            back,
            whole,
            op.Rearrange("b h w d -> b (h w) d", back),
            op.Rearrange("(b r c) (p q) d -> b (r p c q) d", y, **square),
            op.Rearrange("b (p q) d -> b p q d", y, **square),
            y,
        )
        attended = op.Add(x, y)
        tokens = any_of(attended, op.Rearrange("b h w d -> b (h w) d", attended, role="flat"))
        y = op.LayerNorm(tokens, role="norm2", epsilon=p.epsilon)
        y = op.Dense(y, role="mlp_in", use_bias=True)
        y = op.Activation(y, role="act", activation=p.activation)
        y = op.Dense(y, role="mlp_out", use_bias=True)
        y = op.Add(tokens, y)
        return any_of(op.Rearrange("b (h w) d -> b h w d", y), y)

    def params(self, m: Match) -> dict[str, Any]:
        size, dim = m.window_size, m.x.shape[-1]
        windows = (m.lengths.get("r", 1), m.lengths.get("c", 1))
        shift, mlp_ratio = m.shift or 0, ratio(m.mlp_in.units, dim)
        require(m.mlp_out.units == dim, f"mlp_out makes {m.mlp_out.units} channels of {dim}")
        require(mlp_ratio is not None, f"{m.mlp_in.units} is no multiple of {dim} channels")
        require(windows == (m._windows or windows), f"the mask is for {m._windows} windows")
        there, back = m._there or (0, 0), m._back or (0, 0)
        require(there == (-shift, -shift), f"the image is rolled by {there}, the mask says {shift}")
        require(back == (shift, shift), f"the image is rolled by {there}, and back by {back}")
        ranks = (len(m.x.shape), len(m.norm2.output.shape), len(m.root.output.shape or ()))
        require(ranks in FORMS, "its input and output are of different form")
        return {
            "grid": (windows[0] * size, windows[1] * size),
            "shift": shift,
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
    epsilon: float = 1e-5,
    flat_mlp: bool = False,
    flat_output: bool = False,
    dropout: float = 0.0,
    *,
    name: str,
) -> KerasTensor:
    """Attention in windows of an image with a `grid` of pixels, and an MLP.

    The image may come as tokens (B, H·W, C).
    """
    rows, columns = (length // window_size for length in grid)
    if (rows * window_size, columns * window_size) != grid:
        raise ValueError(f"{name}: windows of {window_size} do not fill {grid[0]}×{grid[1]} pixels")
    if rows == 1 or columns == 1:
        if shift and rows != columns:
            raise ValueError(f"{name}: {rows}×{columns} windows cannot be shifted")
        shift = 0  # there is but one
    inputs = keras.Input(x.shape[1:])
    dim = x.shape[-1]
    y = layers.LayerNormalization(epsilon=epsilon, name="norm1")(inputs)
    if shift:
        y = ops.reshape(y, (-1, *grid, dim))
        y = ops.roll(y, (-shift, -shift), axis=(1, 2))
    y = ops.reshape(y, (-1, rows, window_size, columns, window_size, dim))
    y = ops.reshape(ops.transpose(y, (0, 1, 3, 2, 4, 5)), (-1, window_size**2, dim))
    y = window_attention(
        y,
        num_heads,
        window_size,
        qkv_bias=qkv_bias,
        shift=shift,
        windows=(rows, columns),
        name="attn",
    )
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
            require(block.params.keys() == m.blocks[0].params.keys(), "its blocks differ in form")
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

        image = any_of(x, op.Rearrange("b (h w) d -> b h w d", x))
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
            op.Rearrange("b (r p) (c q) d -> b r c (q p d)", x, p=2, q=2),
            op.Rearrange("b (r p c q) d -> b r c (q p d)", x, p=2, q=2),
        )
        y = op.LayerNorm(y, role="norm", epsilon=p.epsilon)
        return op.Dense(y, role="reduction", units=p.dim, use_bias=False)

    def params(self, m: Match) -> dict[str, Any]:
        *_, channels = m.x.shape
        rank, merged = len(m.x.shape), m.norm.output.shape
        require(merged[-1] == 4 * channels, "it does not join four pixels")
        grid = m.x.shape[1:3]
        if rank == 3:
            grid = tuple(
                m.lengths.get(image, 2 * m.lengths.get(half, 0)) for image, half in ("hr", "wc")
            )
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


class MeanClassifier(Pattern):
    """(B, H, W, C), or tokens (B, N, C), → (B, classes): logits of the mean of all pixels."""

    keras = "mean_classifier"
    main = "dense"
    before = ("GlobalAveragePooling2D", "TokenPooling")
    order = staticmethod(plain)

    def onnx(self, op: Ops, x: Var) -> Expr:
        image, tokens = op.Transpose(x, perm=(0, 3, 1, 2)), op.Transpose(x, perm=(0, 2, 1))
        y = any_of(
            op.ReduceMean(x, role="mean", axes=(1, 2), keepdims=0),
            op.ReduceMean(image, role="mean", axes=(2, 3), keepdims=0),
            op.ReduceMean(tokens, role="mean", axes=(2,), keepdims=0),
        )
        return op.Dense(y, role="dense", units=p.num_classes, use_bias=p.use_bias)

    def params(self, m: Match) -> dict[str, Any]:
        require(m.mean.output.shape == (m.x.shape[0], m.x.shape[-1]), "it is no mean of pixels")
        return {}


def mean_classifier(
    x: KerasTensor,
    num_classes: int,
    use_bias: bool = True,
    dropout: float = 0.0,
    classifier_activation: str | None = None,
    *,
    name: str,
) -> KerasTensor:
    """Logits of the mean of all pixels, unless it gets an activation."""
    x = ops.mean(x, axis=tuple(range(1, len(x.shape) - 1)))
    if dropout:
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return layers.Dense(num_classes, classifier_activation, use_bias=use_bias, name=name)(x)
