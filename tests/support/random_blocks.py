"""What random networks are made of: blocks that patterns know, and operators that none does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.support.random_graphs import Builder, Numbers

MOST_TOKENS = 400  # of an attention


def both(function: Callable[[int], int], lengths: Numbers) -> Numbers:
    return function(lengths[0]), function(lengths[1])


def activation(b: Builder, x: str) -> str:
    match b.one_of("Relu", "silu", "HardSwish", "Clip", "LeakyRelu", "Elu", "none"):
        case "silu":
            return b.op("Mul", x, b.op("Sigmoid", x))
        case "Clip":
            return b.op("Clip", x, b.scalar(0.0), b.scalar(6.0))
        case "none":
            return x
        case kind:
            return b.op(kind, x)


def normalized(b: Builder, x: str, filters: int) -> str:
    rest = [b.weight(filters, scale=0.1, mean=mean) for mean in (1.0, 0.0, 0.0)]
    variance = b.constant(b.rng.uniform(0.5, 1.5, filters).astype(np.float32))
    return b.op("BatchNormalization", x, *rest, variance)


def convolution(
    b: Builder, x: str, inputs: int, filters: int, kernel: int = 1, stride: int = 1, group: int = 1
) -> str:
    """With half of the kernel as padding, and batch normalization, if that is not folded."""
    weight = b.weight(filters, inputs // group, kernel, kernel)
    bias = [b.weight(filters, scale=0.1)] if b.folded else []
    pads = [kernel // 2] * 4
    x = b.op("Conv", x, weight, *bias, pads=pads, strides=[stride] * 2, group=group)
    return x if b.folded else normalized(b, x, filters)


def strided(b: Builder, stride: int) -> None:
    b.high, b.wide = (both(lambda n: -(-n // stride), each) for each in (b.high, b.wide))


def some_stride(b: Builder) -> int:
    return b.one_of(1, 1, 2) if b.smallest > 4 else 1


def conv_block(b: Builder) -> None:
    filters, stride = b.one_of(8, 12, 16), some_stride(b)
    b.x = activation(b, convolution(b, b.x, b.channels, filters, b.one_of(1, 3, 5), stride))
    b.channels = filters
    strided(b, stride)


def same_convolution(b: Builder) -> None:
    """Padded by a word, whatever the size is."""
    filters, kernel, stride = b.one_of(8, 12), b.one_of(2, 3, 5), some_stride(b)
    word = b.one_of("SAME_UPPER", "SAME_LOWER")
    weight = b.weight(filters, b.channels, kernel, kernel)
    x = b.op("Conv", b.x, weight, auto_pad=word, strides=[stride] * 2)
    b.x, b.channels = activation(b, x), filters
    strided(b, stride)


def unpadded_convolution(b: Builder) -> None:
    """Dilated, or padded at one side alone."""
    dilation, pads = b.one_of(1, 2), b.one_of((0, 0, 0, 0), (0, 1, 1, 0), (2, 1, 0, 1))
    if b.smallest < 8:
        return
    weight = b.weight(8, b.channels, 3, 3)
    b.x = b.op("Conv", b.x, weight, pads=pads, dilations=[dilation] * 2)
    b.channels, reach = 8, 2 * dilation
    b.high = both(lambda n: n + pads[0] + pads[2] - reach, b.high)
    b.wide = both(lambda n: n + pads[1] + pads[3] - reach, b.wide)


def transposed_convolution(b: Builder) -> None:
    if b.most_pixels > 1200:
        return
    kernel, more = b.one_of((2, 0), (3, 1), (4, 1))
    weight = b.weight(b.channels, 8, kernel, kernel, scale=(b.channels * kernel) ** -0.5)
    b.x = b.op(
        "ConvTranspose",
        b.x,
        weight,
        strides=[2, 2],
        pads=[more] * 4,
        output_padding=[1 if kernel == 3 else 0] * 2,
    )
    b.channels = 8
    b.high, b.wide = (both(lambda n: 2 * n, each) for each in (b.high, b.wide))


def grouped(b: Builder) -> None:
    filters = b.channels * b.one_of(1, 2) if b.channels < 24 else b.channels
    b.x = activation(b, convolution(b, b.x, b.channels, filters, 3, group=b.channels))
    b.channels = filters


def inverted_residual(b: Builder) -> None:
    start, wide = b.x, b.channels * b.one_of(2, 3)
    x = activation(b, convolution(b, b.x, b.channels, wide))
    x = activation(b, convolution(b, x, wide, wide, b.one_of(3, 5), group=wide))
    if b.chance(0.4):
        x = squeeze_excite(b, x, wide)
    x = convolution(b, x, wide, b.channels)
    b.x = b.op("Add", *((x, start) if b.chance(0.5) else (start, x)))


def squeeze_excite(b: Builder, x: str, channels: int) -> str:
    s = b.op("GlobalAveragePool", x) if b.chance(0.5) else b.op("ReduceMean", x, axes=[2, 3])
    s = b.op("Conv", s, b.weight(4, channels, 1, 1), b.weight(4, scale=0.1))
    s = b.op("Relu", s)
    s = b.op("Conv", s, b.weight(channels, 4, 1, 1), b.weight(channels, scale=0.1))
    return b.op("Mul", x, b.op(b.one_of("Sigmoid", "HardSigmoid"), s))


def residual(b: Builder) -> None:
    start = b.x
    x = b.op("Relu", convolution(b, b.x, b.channels, b.channels, 3))
    x = b.op("Add", convolution(b, x, b.channels, b.channels, 3), start)
    b.x = b.op("Relu", x)


def bottleneck(b: Builder) -> None:
    stride, filters = some_stride(b), b.one_of(8, 16)
    x = b.op("Relu", convolution(b, b.x, b.channels, 4))
    x = b.op("Relu", convolution(b, x, 4, 4, 3, stride, b.one_of(1, 2, 4)))
    x = convolution(b, x, 4, filters)
    b.x = b.op("Relu", b.op("Add", x, convolution(b, b.x, b.channels, filters, 1, stride)))
    b.channels = filters
    strided(b, stride)


def shared_layer(b: Builder) -> None:
    """One convolution on two tensors, as pyramids have it in their heads."""
    weight = b.weight(b.channels, b.channels, 3, 3)
    bias = b.weight(b.channels, scale=0.1)
    first, second = b.x, b.op("Tanh", b.x)
    parts = [b.op("Conv", x, weight, bias, pads=[1] * 4) for x in (first, second)]
    b.x = b.op("Relu", b.op("Add", *parts))


def branches(b: Builder) -> None:
    parts = [activation(b, convolution(b, b.x, b.channels, 4, kernel)) for kernel in (1, 3)]
    b.x, b.channels = b.op("Concat", *parts, axis=1), 8


def norm(b: Builder, x: str, channels: int) -> str:
    gamma, beta = (b.weight(channels, scale=0.1, mean=mean) for mean in (1.0, 0.0))
    return b.op("LayerNormalization", x, gamma, beta, axis=-1, epsilon=1e-5)


def dense(b: Builder, x: str, inputs: int, units: int) -> str:
    weight = b.constant(b.rng.normal(0, inputs**-0.5, (inputs, units)).astype(np.float32))
    return b.op("Add", b.op("MatMul", x, weight), b.weight(units, scale=0.1))


def few_tokens(b: Builder) -> None:
    while b.most_pixels > MOST_TOKENS:
        b.x = convolution(b, b.x, b.channels, b.channels, 3, 2)
        strided(b, 2)


def attention(b: Builder) -> None:
    """A transformer layer over the pixels, with one or two heads."""
    few_tokens(b)
    channels = b.channels
    heads = b.one_of(1, 2) if channels % 2 == 0 else 1
    size = b.length(2), b.length(3)
    x = b.op("Reshape", b.x, b.integers(b.batch, channels, -1))
    start = b.op("Transpose", x, perm=[0, 2, 1])
    y = norm(b, start, channels)
    if b.chance(0.5):
        q, k, v = separate(b, y, heads)
    else:
        q, k, v = together(b, y, heads)
    scores = b.op("MatMul", q, b.op("Transpose", k, perm=[0, 1, 3, 2]))
    scores = b.op("Softmax", b.op("Mul", scores, b.scalar((channels // heads) ** -0.5)), axis=-1)
    y = b.op("Transpose", b.op("MatMul", scores, v), perm=[0, 2, 1, 3])
    y = b.op("Reshape", y, b.integers(b.batch, -1, channels))
    x = b.op("Add", dense(b, y, channels, channels), start)
    y = dense(b, norm(b, x, channels), channels, 2 * channels)
    y = dense(b, b.op("Mul", y, b.op("Sigmoid", y)), 2 * channels, channels)
    x = b.op("Transpose", b.op("Add", y, x), perm=[0, 2, 1])
    b.x = b.op("Reshape", x, b.integers(b.batch, channels, *size))


def separate(b: Builder, y: str, heads: int) -> list[str]:
    split = b.integers(b.batch, -1, heads, b.channels // heads)
    parts = [b.op("Reshape", dense(b, y, b.channels, b.channels), split) for _ in range(3)]
    return [b.op("Transpose", part, perm=[0, 2, 1, 3]) for part in parts]


def together(b: Builder, y: str, heads: int) -> list[str]:
    """Query, key and value by one layer, as timm and ml-cvnets have it."""
    split = b.integers(b.batch, -1, 3, heads, b.channels // heads)
    y = b.op("Reshape", dense(b, y, b.channels, 3 * b.channels), split)
    y = b.op("Transpose", y, perm=[2, 0, 3, 1, 4])
    return [b.op("Gather", y, b.constant(np.array(part)), axis=0) for part in range(3)]


def patches(b: Builder) -> None:
    """Attention between the pixels at one place of every patch, as MobileViT unfolds it."""
    few_tokens(b)
    if not b.fits(2, 2):
        return
    channels, (rows, columns) = b.channels, (b.length(2), b.length(3))
    rows, columns = (b.computed("Div", each, 2) for each in (rows, columns))
    start = b.x
    x = b.op("Reshape", b.x, b.integers(b.batch, channels, rows, 2, columns, 2))
    x = b.op("Transpose", x, perm=[0, 3, 5, 2, 4, 1])
    y = b.op("Reshape", x, b.integers(b.batch, 4, -1, channels))
    scores = b.op(
        "MatMul", y, b.op("Transpose", dense(b, y, channels, channels), perm=[0, 1, 3, 2])
    )
    y = b.op("MatMul", b.op("Softmax", b.op("Mul", scores, b.scalar(0.2)), axis=-1), y)
    y = dense(b, y, channels, channels)
    y = b.op("Reshape", y, b.integers(b.batch, 2, 2, rows, columns, channels))
    y = b.op("Transpose", y, perm=[0, 5, 3, 1, 4, 2])
    size = (b.computed("Mul", each, 2) for each in (rows, columns))
    y = b.op("Reshape", y, b.integers(b.batch, channels, *size))
    b.x = b.op("Add", y, start)


BLOCKS: tuple[Callable[[Builder], None], ...] = (
    *(conv_block, conv_block, same_convolution, unpadded_convolution, transposed_convolution),
    *(grouped, inverted_residual, inverted_residual, residual, bottleneck, shared_layer, branches),
    *(attention, attention, patches),
)
