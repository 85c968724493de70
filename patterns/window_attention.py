"""Swin's attention within windows (arXiv:2103.14030), with its learned bias and its mask."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

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
    p,
    require,
    scalar,
)

if TYPE_CHECKING:
    from keras import KerasTensor, layers, ops

HIDDEN = -100  # what the mask adds to the scores of two pixels that are no neighbours


class RelativePositionBias(Pattern):
    """Scores (B·n, heads, N, N) of windows of N pixels, plus a learned number for each way from
    one pixel to another, (2w - 1)² of them for each head (arXiv:2103.14030, equation 4).

    It is a parameter without a node: the exporter looked it up in its table, and Hugging Face's
    has the mask of shifted windows in it. Keras: Embedding, one row a way.
    """

    keras = "relative_position_bias"
    inner = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Add(x, constant("bias", rank=4))

    def params(self, m: Match) -> dict[str, Any]:
        windows, heads, tokens, others = m.shape("x", 4)
        size, bias = math.isqrt(tokens), m.bias.const
        require(tokens == others == size * size > 1, "it is not added to the scores of windows")
        require(bias.shape[1:] == (heads, tokens, tokens), "it is not one for each pair of pixels")
        plain = self.table(m)[relative_position_index(size)].transpose(2, 0, 1)
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
        table[relative_position_index(size)] = m.bias.const.max(axis=0).transpose(1, 2, 0)
        return table


def relative_position_bias(x: KerasTensor, window_size: int, *, name: str) -> KerasTensor:
    """Scores (B·n, heads, N, N) plus a learned number for each way from pixel to pixel."""
    index = ops.zeros_like(x[:1, 0], dtype="int32") + relative_position_index(window_size)
    bias = layers.Embedding((2 * window_size - 1) ** 2, x.shape[1], name=name)(index)
    return x + ops.transpose(bias, (0, 3, 1, 2))


def relative_position_index(window_size: int) -> Any:
    """(N, N): for each pair of pixels in a window the row of the table for the way between them."""
    row, column = np.indices((window_size, window_size)).reshape(2, -1)
    down, right = (place[:, None] - place + window_size - 1 for place in (row, column))
    return (down * (2 * window_size - 1) + right).astype("int32")


def shift_mask(windows: tuple[int, int], window_size: int, shift: int) -> Any:
    """(n, 1, N, N): lowers the scores of two pixels that come from two sides of the image."""
    rolled = [np.arange(n * window_size) >= n * window_size - shift for n in windows]
    side = 2 * rolled[0][:, None] + rolled[1]
    side = side.reshape(windows[0], window_size, windows[1], window_size)
    side = side.transpose(0, 2, 1, 3).reshape(-1, 1, window_size**2)
    return np.where(side[..., None] == side[:, :, None], 0, -100).astype("float32")


def shift_of(hidden: Array, window_size: int) -> dict[str, Any]:
    """The shift, and the rows and columns of windows, of which this is the mask for some images.

    Raises:
        Mismatch: there is none.
    """
    for windows in grids(len(hidden)):
        for shift in range(1, window_size):
            mask = shift_mask(windows, window_size, shift)[:, 0] != 0
            if (hidden.reshape(-1, *mask.shape) == mask).all():
                return {"shift": shift, "windows": windows}
    raise Mismatch("the mask is not that of shifted windows")


def grids(windows: int) -> Iterator[tuple[int, int]]:
    """So many windows, or those of several images, in at least two rows and two columns."""
    for rows in range(2, windows // 2 + 1):
        for columns in range(2, windows // rows + 1):
            if windows % (rows * columns) == 0:
                yield rows, columns


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
        y = op.RelativePositionBias(y, role="bias", **p("window_size", "shift", "windows"))
        masked = op.Add(op.Rearrange("(b n) h t s -> b n h t s", y), constant("mask", rank=5))
        y = any_of(op.Rearrange("b n h t s -> (b n) h t s", masked), y)
        y = op.MatMul(op.Softmax(y, axis=-1), value)
        y = op.Rearrange("b h t k -> b t (h k)", y, **heads)
        return op.Dense(y, role="proj", use_bias=True)

    def params(self, m: Match) -> dict[str, Any]:
        *_, channels = m.shape("x", 3)
        require(m.proj.units == m.num_heads * m._key_dim == channels, "it changes the channels")
        scale = float(m.scale.const.reshape(()))
        require(math.isclose(scale, m._key_dim**-0.5, rel_tol=1e-5), "the scale is not 1/sqrt(d)")
        if m.mask is None:
            return {}
        mask, tokens = m.mask.const, m.window_size**2
        require(m.shift is None, "it has two masks")
        require(mask.shape == (1, mask.shape[1], 1, tokens, tokens), "it is not one a window")
        require(bool(np.isin(mask, (0, HIDDEN)).all()), f"it does not lower scores by {-HIDDEN}")
        return shift_of(mask[0, :, 0] != 0, m.window_size)


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
    scores = relative_position_bias(scores, window_size, name=f"{name}_bias")
    if shift:
        scores = ops.reshape(scores, (-1, windows[0] * windows[1], num_heads, tokens, tokens))
        scores = scores + shift_mask(windows, window_size, shift)
        scores = ops.reshape(scores, (-1, num_heads, tokens, tokens))
    y = ops.einsum("bhts,bshk->bthk", layers.Softmax()(scores), value)
    return layers.Dense(dim, name=f"{name}_proj")(ops.reshape(y, (-1, tokens, dim)))
