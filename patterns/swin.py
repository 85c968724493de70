"""Swin (arXiv:2103.14030): attention in windows, which are shifted in every second block.

What one exporter keeps as an image (B, H, W, C), as ml-cvnets' has it, another writes as tokens
(B, H·W, C): in the MLP alone (timm), or everywhere (Hugging Face).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.ir.block import Block
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
from .feed_forward import MLP, feed_forward
from .windows import (
    SINGLE,
    SQUARE,
    in_windows,
    window_partition,
    window_reverse,
    window_size_of,
)

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
    style = ("activation", "qkv_bias", "mlp_ratio", "epsilon")

    def onnx(self, op: Ops, x: Var) -> Expr:
        y: Expr = op.LayerNorm(x, role="norm", epsilon=p.epsilon)
        image = any_of(y, op.Rearrange("b (h w) d -> b h w d", y))
        rolled = op.Roll(image, axes=(1, 2), shifts=p._there)
        windows = in_windows(op, any_of(rolled, y), y)
        own = {**p("num_heads", "qkv_bias", "absolute", "mask_windows"), "grid": p._biased}
        y = op.BiasedSelfAttention(windows, role="attn", shift=p._shift, windows=p._windows, **own)
        whole = op.Rearrange("(b r c) (p q) d -> b (r p) (c q) d", y, **SQUARE)
        back = op.Roll(whole, axes=(1, 2), shifts=p._back)
        y = any_of(
            back,
            whole,
            op.Rearrange("b h w d -> b (h w) d", back),
            op.Rearrange("(b r c) (p q) d -> b (r p c q) d", y, **SQUARE),
            op.Rearrange("b (p q) d -> b p q d", y, **SINGLE),
            y,
        )
        y = op.Add(x, y)
        y = any_of(y, op.Rearrange("b h w d -> b (h w) d", y))
        y = op.FeedForward(y, role="mlp", layer_scale=None, **MLP)
        return any_of(op.Rearrange("b (h w) d -> b h w d", y), y)

    def params(self, m: Match) -> dict[str, Any]:
        size = window_size_of(m)
        require(not {"key_dim", "value_dim", "stride"} & {*m.attn.params}, "its heads are others")
        windows = (m._rows or 1, m._columns or 1)
        grid = (windows[0] * size, windows[1] * size)
        there, back = m._there or (0, 0), m._back or (0, 0)
        shift = m._shift or (-there[0] if m.mask_windows else 0)
        require(windows == (m._windows or windows), f"the mask is for {m._windows} windows")
        require(m.mask_windows in (None, windows[0] * windows[1]), "the mask is for other windows")
        require(there == (-shift, -shift), f"the image is rolled by {there}, the mask says {shift}")
        turns = zip(there, back, grid, strict=True)
        whole = all((first + second) % length == 0 for first, second, length in turns)
        require(whole, f"the image is rolled by {there}, and back by {back}")
        pairwise = {"pairwise": True} if m._biased is None else {}
        return {"grid": grid, "window_size": size, "shift": shift, **pairwise}

    def windows(self, block: Block) -> tuple[int, ...]:
        return tuple(length // block.window_size for length in block.grid)


def swin_block(
    x: KerasTensor,
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
    dropout: float = 0.0,
    *,
    name: str,
) -> KerasTensor:
    """Attention in windows of an image (B, H, W, C), and an MLP.

    The bias is learned for each offset in a window, for each `absolute` one, or, if `pairwise`, for
    each pair of pixels. The mask of shifted windows is the paper's, or one for so many windows.
    """
    _, height, width, _ = x.shape
    rows, columns = height // window_size, width // window_size
    if (rows * window_size, columns * window_size) != (height, width):
        raise ValueError(f"{name}: windows of {window_size} do not fill {height}×{width} pixels")
    if (rows == 1 or columns == 1) and not mask_windows:
        if shift and rows != columns:
            raise ValueError(f"{name}: {rows}×{columns} windows cannot be shifted")
        shift = 0  # there is but one
    own: dict[str, Any] = {"qkv_bias": qkv_bias}
    if not pairwise:
        own["grid"] = (window_size, window_size)
    if absolute:
        own["absolute"] = True
    hidden = shift  # by the paper's mask
    if mask_windows is not None and shift:
        if rows * columns != mask_windows:
            raise ValueError(f"{name}: its mask is for {mask_windows} windows alone")
        own["mask_windows"], hidden = mask_windows, 0
    inputs = keras.Input(x.shape[1:])
    y = layers.LayerNormalization(epsilon=epsilon, name="norm")(inputs)
    if shift:
        y = ops.roll(y, (-shift, -shift), axis=(1, 2))
    y = window_partition(y, window_size)
    y = biased_self_attention(
        y, num_heads, shift=hidden, windows=(rows, columns), **own, name="attn"
    )
    y = window_reverse(y, height, width, window_size)
    if shift:
        y = ops.roll(y, (shift, shift), axis=(1, 2))
    if dropout:
        y = layers.Dropout(dropout, name="dropout_attn")(y)
    y = layers.Add(name="add_attn")([inputs, y])
    y = feed_forward(y, mlp_ratio, activation, epsilon=epsilon, dropout=dropout, name="mlp")
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
        own = p("num_heads", "window_size", "qkv_bias", "absolute", "pairwise", "mask_windows")
        return one_or_more("SwinBlock", x, role="blocks", grid=p._grid, **own, **MLP)

    def params(self, m: Match) -> dict[str, Any]:
        single = m._grid == (m.window_size, m.window_size)
        shifts = [
            0 if single else number % 2 * (m.window_size // 2) for number in range(len(m.blocks))
        ]
        found = [block.shift for block in m.blocks]
        require(found == shifts, f"its blocks are shifted by {found}, not {shifts}")
        return {
            "depth": len(m.blocks),
            **({"flat_output": True} if len(m.root.output.shape or ()) == 3 else {}),
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
    if stride is not None:  # they are tokens, one for each such square of the image
        y = image_of_tokens(y, stride, input_shape)
    for i in range(depth):
        shift = i % 2 * (window_size // 2)
        y = swin_block(
            y, num_heads, window_size, shift=shift, dropout=dropout, name=f"blocks.{i}", **block
        )
    if flat_output:
        y = layers.Reshape((-1, y.shape[-1]))(y)
    return keras.Model(inputs, y, name=name)(x)


def image_of_tokens(x: KerasTensor, stride: int, input_shape: tuple[int, ...]) -> KerasTensor:
    """(B, N, C) → (B, H, W, C): a token for each square of an image is a pixel."""
    height, width = input_shape[0] // stride, input_shape[1] // stride
    return layers.Reshape((height, width, x.shape[-1]))(x)


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
