"""Swin (arXiv:2103.14030): attention in windows, which are shifted in every second block.

What one exporter keeps as an image (B, H, W, C), as ml-cvnets' has it, another writes as tokens
(B, H·W, C): in the MLP alone (timm), or everywhere (Hugging Face).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.ir.block import Block
from onnx2mvit.ir.graph import Node
from onnx2mvit.ir.layout import plain
from onnx2mvit.matcher import (
    Expr,
    Match,
    Ops,
    Pattern,
    Var,
    any_of,
    one_or_more,
    p,
    require,
)

from .biased_attention import biased_self_attention
from .feed_forward import MLP, feed_forward
from .vit import image_of_tokens, stride_of_tokens
from .windows import (
    SINGLE,
    SQUARE,
    cut_to_image,
    filled,
    image_in_windows,
    in_windows,
    window_fill,
    window_partition,
    window_reverse,
    window_size_of,
)

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers, ops


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
        first = filled(op, image, role="filled_first")
        rolled = op.Roll(any_of(first, image), role="there", axes=p._axes)
        then = filled(op, rolled, role="filled_then")
        windows = in_windows(op, any_of(then, rolled, first, image), y)
        own = {**p("num_heads", "qkv_bias", "absolute", "mask_windows"), "grid": p._biased}
        y = op.BiasedSelfAttention(windows, role="attn", shift=p._shift, windows=p._windows, **own)
        whole = any_of(
            op.Rearrange("(b r c) (p q) d -> b (r p) (c q) d", y, **SQUARE),
            op.Rearrange("b (p q) d -> b p q d", y, **SINGLE),
        )
        back: Expr = any_of(
            op.Roll(any_of(cut_to_image(op, whole), whole), role="back", axes=p._axes),
            whole,
        )
        back = any_of(cut_to_image(op, back), back)
        y = any_of(
            back,
            op.Rearrange("b h w d -> b (h w) d", back),
            op.Rearrange("(b r c) (p q) d -> b (r p c q) d", y, **SQUARE),
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
        require(windows == (m._windows or windows), f"the mask is for {m._windows} windows")
        require(m.mask_windows in (None, windows[0] * windows[1]), "the mask is for other windows")
        grid = image_in_windows(m, size)
        there, back = rolled_by(m.there), rolled_by(m.back)
        shift = m._shift or (max(-step for step in there) if m.mask_windows else 0)
        along = 1 in windows and 0 in there and bool(shift)
        steps = tuple(-shift if number > 1 or not along else 0 for number in windows)
        require(there == steps, f"the image is rolled by {there}, the mask says {shift}")
        whole = (windows[0] * size, windows[1] * size) if m.filled_then is None else grid
        turns = zip(there, back, whole, strict=True)
        full = all((first + second) % length == 0 for first, second, length in turns)
        require(full, f"the image is rolled by {there}, and back by {back}")
        fill = None if m.pads is None else "first" if m.filled_then is None else "rolled"
        return {
            **{"grid": grid, "window_size": size, "shift": shift},
            **({"pairwise": True} if m._biased is None else {}),
            **({"along": True} if along else {}),
            # Where nothing is rolled, it cannot be seen.
            **({"fill": fill} if fill and shift else {}),
        }

    def windows(self, block: Block) -> tuple[int, ...]:
        whole = not any(length % block.window_size for length in block.grid)
        return tuple(length // block.window_size for length in block.grid) if whole else ()


def rolled_by(roll: Node | None) -> tuple[int, int]:
    """By how many rows and columns an image (B, H, W, C) is rolled."""
    steps = {} if roll is None else dict(zip(roll.attrs["axes"], roll.attrs["shifts"], strict=True))
    return steps.get(1, 0), steps.get(2, 0)


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
    fill: str | None = None,
    along: bool = False,
    epsilon: float = 1e-5,
    dropout: float = 0.0,
    *,
    name: str,
) -> KerasTensor:
    """Attention in windows of an image (B, H, W, C), and an MLP.

    The bias is learned for each offset in a window, for each `absolute` one, or, if `pairwise`, for
    each pair of pixels. The mask of shifted windows is the paper's, or one for so many windows.
    Zeros `fill` the last windows "first", or once the image is "rolled". A single row of windows is
    shifted `along` itself alone.
    """
    _, height, width, _ = x.shape
    if fill:
        height, width = height + -height % window_size, width + -width % window_size
    rows, columns = height // window_size, width // window_size
    if (rows * window_size, columns * window_size) != (height, width):
        raise ValueError(f"{name}: windows of {window_size} do not fill {height}×{width} pixels")
    steps = (shift, shift)
    if along:
        steps = (shift * (rows > 1), shift * (columns > 1))
    elif (rows == 1 or columns == 1) and not mask_windows:
        if shift and rows != columns:
            raise ValueError(f"{name}: {rows}×{columns} windows cannot be shifted")
        steps = (0, 0)  # there is but one
    own: dict[str, Any] = {"qkv_bias": qkv_bias}
    if not pairwise:
        own["grid"] = (window_size, window_size)
    if absolute:
        own["absolute"] = True
    shift = hidden = max(steps)  # by the paper's mask
    if mask_windows is not None and shift:
        if rows * columns != mask_windows:
            raise ValueError(f"{name}: its mask is for {mask_windows} windows alone")
        own["mask_windows"], hidden = mask_windows, 0
    inputs = keras.Input(x.shape[1:])
    y = layers.LayerNormalization(epsilon=epsilon, name="norm")(inputs)
    if fill in ("first",):
        y = window_fill(y, window_size)
    if shift:
        y = ops.roll(y, (-steps[0], -steps[1]), axis=(1, 2))
    if fill in ("rolled",):
        y = window_fill(y, window_size)
    y = window_partition(y, window_size)
    y = biased_self_attention(
        y, num_heads, shift=hidden, windows=(rows, columns), **own, name="attn"
    )
    y = window_reverse(y, height, width, window_size)
    if fill in ("rolled",):
        y = y[:, : x.shape[1], : x.shape[2]]
    if shift:
        y = ops.roll(y, steps, axis=(1, 2))
    if fill in ("first",):
        y = y[:, : x.shape[1], : x.shape[2]]
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
        own |= {**p("fill", "along"), "grid": p._grid}
        return one_or_more("SwinBlock", x, role="blocks", **own, **MLP)

    def params(self, m: Match) -> dict[str, Any]:
        filled = any(length % m.window_size for length in m._grid)
        shifts = [number % 2 * (m.window_size // 2) for number in range(len(m.blocks))]
        found = [block.shift for block in m.blocks]
        single = max(m._grid) <= m.window_size
        unshifted = single or (min(m._grid) <= m.window_size and not any(found))
        expected = [0] * len(found) if unshifted else shifts
        require(found == expected, f"its blocks are shifted by {found}, not {expected}")
        return {
            "depth": len(m.blocks),
            **({"fill": "first"} if filled and m.fill is None else {}),
            # Where there is but one window, or one block, it cannot be seen.
            **({"still": True} if unshifted and not single and any(shifts) else {}),
            **({"flat_output": True} if len(m.root.output.shape or ()) == 3 else {}),
            **stride_of_tokens(m, m._grid),
        }


def swin_stage(
    x: KerasTensor,
    depth: int,
    num_heads: int,
    window_size: int = 7,
    still: bool = False,
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
        if still:  # where one window spans a side
            shift *= min(y.shape[1:3]) > window_size
        y = swin_block(
            y, num_heads, window_size, shift=shift, dropout=dropout, name=f"blocks.{i}", **block
        )
    if flat_output:
        y = layers.Reshape((-1, y.shape[-1]))(y)
    return keras.Model(inputs, y, name=name)(x)
