"""Operators with an axis of space that no pattern takes, for random networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.support.random_blocks import both, convolution
from tests.support.random_graphs import Builder, Length

FAR = 2**62


def elementwise(b: Builder) -> None:
    match b.one_of(*range(5)):
        case 0:
            b.x = b.op("Sin", b.x)
        case 1:
            b.x = b.op("Mul", b.x, b.weight(b.channels, 1, 1, scale=0.3, mean=1.0))
        case 2:
            b.x = b.op("Max", b.x, b.op("Neg", b.x))
        case 3:
            b.x = b.op("PRelu", b.x, b.weight(b.channels, 1, 1, scale=0.2))
        case _:
            b.x = b.op("Where", b.op("Greater", b.x, b.scalar(0.1)), b.x, b.op("Tanh", b.x))


def normalization(b: Builder) -> None:
    gain = [b.weight(b.channels, scale=0.1, mean=1.0), b.weight(b.channels, scale=0.1)]
    match b.one_of(*range(4)):
        case 0:
            b.x = b.op("InstanceNormalization", b.x, *gain)
        case 1:
            x = b.op("Transpose", b.x, perm=[0, 2, 3, 1])
            x = b.op("LayerNormalization", x, *gain, axis=-1, epsilon=1e-5)
            b.x = b.op("Transpose", x, perm=[0, 3, 1, 2])
        case 2:
            x = b.op("Transpose", b.x, perm=[0, 2, 3, 1])
            b.x = b.op("Transpose", b.op("Softmax", x, axis=-1), perm=[0, 3, 1, 2])
        case _:  # over all pixels
            size = b.length(2), b.length(3)
            x = b.op("Reshape", b.x, b.integers(b.batch, b.channels, -1))
            x = b.op("Mul", b.op("Softmax", x, axis=2), b.scalar(20.0))
            b.x = b.op("Reshape", x, b.integers(b.batch, b.channels, *size))


def pooling(b: Builder) -> None:
    kind = b.one_of("MaxPool", "AveragePool", "LpPool")
    kernel, stride = b.one_of((2, 2), (3, 2), (3, 1), (2, 1), (3, 3))
    if b.smallest < 2 * kernel:
        return
    counted: dict[str, Any] = (
        {"count_include_pad": 1} if kind == "AveragePool" and b.chance(0.5) else {}
    )
    window: dict[str, Any] = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, **counted}
    match b.one_of("explicit", "padded", "SAME_UPPER", "SAME_LOWER", "ceil"):
        case "explicit":
            b.x = b.op(kind, b.x, **window)
            b.high, b.wide = (
                both(lambda n: (n - kernel) // stride + 1, e) for e in (b.high, b.wide)
            )
        case "padded":
            b.x = b.op(kind, b.x, **window, pads=[kernel // 2] * 4)
            more = 2 * (kernel // 2)
            b.high, b.wide = (
                both(lambda n: (n + more - kernel) // stride + 1, e) for e in (b.high, b.wide)
            )
        case "ceil" if kind != "LpPool":
            b.x = b.op(kind, b.x, **window, ceil_mode=1)
            b.high, b.wide = (
                both(lambda n: -(-(n - kernel) // stride) + 1, e) for e in (b.high, b.wide)
            )
        case word:
            word = word if word.startswith("SAME") else "SAME_UPPER"
            b.x = b.op(kind, b.x, **window, auto_pad=word)
            b.high, b.wide = (both(lambda n: -(-n // stride), e) for e in (b.high, b.wide))


def padding(b: Builder) -> None:
    before, after = (b.one_of(0, 1, 2) for _ in range(2))
    left, right = (b.one_of(0, 1, 2) for _ in range(2))
    mode = b.one_of("constant", "reflect", "edge")
    if b.smallest < 4:
        return
    pads = b.integers(0, 0, before, left, 0, 0, after, right)
    b.x = b.op("Pad", b.x, pads, mode=mode)
    b.high = both(lambda n: n + before + after, b.high)
    b.wide = both(lambda n: n + left + right, b.wide)


def margin(b: Builder) -> None:
    """A border is cut away, counted from either side."""
    axis, (first, last) = b.one_of(2, 3), b.one_of((1, -1), (0, -2), (2, FAR), (-6, -1), (-5, FAR))
    if b.smallest < 18:
        return
    b.x = b.cut(b.x, axis, first, last)
    at = both(lambda n: len(range(n)[first:last]), b.high if axis == 2 else b.wide)
    b.high, b.wide = (at, b.wide) if axis == 2 else (b.high, at)


def half(b: Builder) -> None:
    """One half of the image, by its length or as one of two parts."""
    axis = b.one_of(2, 3)
    if not b.fits(2, 3):
        return
    if b.chance(0.5):
        middle = b.computed("Div", b.length(axis), 2)
        ends = b.one_of((0, middle), (middle, FAR))
        b.x = b.cut(b.x, axis, *ends)
    else:
        b.x = b.several("Split", b.x, outputs=2, axis=axis)[b.one_of(0, 1)]
    at = both(lambda n: n // 2, b.high if axis == 2 else b.wide)
    b.high, b.wide = (at, b.wide) if axis == 2 else (b.high, at)


def every_second(b: Builder) -> None:
    """Slices with steps, joined or not, as Focus layers and Swin merge patches."""
    if not b.fits(2, 3):
        return
    parts = []
    for row in range(2):
        x = b.cut(b.x, 2, row, FAR, 2)
        parts += [b.cut(x, 3, column, FAR, 2) for column in range(2)]
    b.high, b.wide = (both(lambda n: n // 2, each) for each in (b.high, b.wide))
    if b.channels <= 12 and b.chance(0.7):
        b.x, b.channels = b.op("Concat", *parts, axis=1), 4 * b.channels
    else:
        b.x = b.op("Add", parts[1], parts[2])


def flip(b: Builder) -> None:
    axis = b.one_of(2, 3)
    b.x = b.op("Add", b.x, b.cut(b.x, axis, -1, -FAR, -1))


def roll(b: Builder) -> None:
    axis = b.one_of(2, 3)
    if b.smallest < 9:
        return
    parts = b.cut(b.x, axis, -1, FAR), b.cut(b.x, axis, 0, -1)
    b.x = b.op("Concat", *parts, axis=axis)


def last_row(b: Builder) -> None:
    """One row or column is weighted into all others."""
    axis = b.one_of(2, 3)
    if b.chance(0.5):
        row = b.op("Gather", b.x, b.integers(-1), axis=axis)
    else:
        row = b.op("Gather", b.x, b.constant(np.array(-1)), axis=axis)
        row = b.op("Unsqueeze", row, b.integers(axis))
    b.x = b.op("Add", b.x, b.op("Mul", row, b.scalar(0.5)))


def resize(b: Builder) -> None:
    """To the double, by a factor or to a size that is computed."""
    if b.most_pixels > 1500:
        return
    how = b.one_of(
        ("nearest", "asymmetric"),
        ("linear", "half_pixel"),
        ("linear", "align_corners"),
        ("linear", "asymmetric"),
        ("linear", "pytorch_half_pixel"),
        ("cubic", "half_pixel"),
    )
    mode: dict[str, Any] = {"mode": how[0], "coordinate_transformation_mode": how[1]}
    mode |= {"nearest_mode": "floor"} if how[0] == "nearest" else {}
    mode |= {"cubic_coeff_a": -0.75} if how[0] == "cubic" else {}
    if b.chance(0.5):
        b.x = b.op("Resize", b.x, "", b.floats(1, 1, 2, 2), **mode)
    else:
        size = [b.computed("Mul", b.length(axis), 2) for axis in (2, 3)]
        b.x = b.op("Resize", b.x, "", "", sizes(b, size), **mode)
    b.high, b.wide = (both(lambda n: 2 * n, each) for each in (b.high, b.wide))


def down_and_up(b: Builder) -> None:
    """A small network at half the size, resized to the size of what it is added to."""
    if b.smallest < 6:
        return
    high, wide, start = b.high, b.wide, b.x
    size = b.length(2), b.length(3)
    x = convolution(b, b.x, b.channels, b.channels, 3, 2)
    mode = b.one_of("linear", "nearest")
    options: dict[str, Any] = {
        "coordinate_transformation_mode": "half_pixel" if mode == "linear" else "asymmetric"
    }
    options |= {"nearest_mode": "floor"} if mode == "nearest" else {}
    x = b.op("Resize", x, "", "", sizes(b, size), mode=mode, **options)
    b.x, b.high, b.wide = b.op("Add", x, start), high, wide


def sizes(b: Builder, size: Sequence[Length]) -> str:
    """The shape of an image of this height and width, of as many channels as there are now."""
    if b.form.batch is not None:
        return b.integers(b.form.batch, b.channels, *size)
    first = b.op("Slice", b.op("Shape", b.x), b.integers(0), b.integers(2))
    return b.op("Concat", first, b.integers(*size), axis=0)


def pixel_shuffle(b: Builder) -> None:
    if b.most_pixels > 1500 or b.channels % 4:
        return
    mode = b.one_of("DCR", "CRD")
    b.x, b.channels = b.op("DepthToSpace", b.x, blocksize=2, mode=mode), b.channels // 4
    b.high, b.wide = (both(lambda n: 2 * n, each) for each in (b.high, b.wide))


def channel_shuffle(b: Builder) -> None:
    if b.channels % 2:
        return
    size = b.length(2), b.length(3)
    x = b.op("Reshape", b.x, b.integers(b.batch, 2, b.channels // 2, *size))
    x = b.op("Transpose", x, perm=[0, 2, 1, 3, 4])
    b.x = b.op("Reshape", x, b.integers(b.batch, b.channels, *size))


def coordinate_attention(b: Builder) -> None:
    """Means of rows and of columns, joined, and cut apart again at the height."""
    size = b.length(2), b.length(3)
    rows = b.op("ReduceMean", b.x, axes=[3], keepdims=1)
    columns = b.op("ReduceMean", b.x, axes=[2], keepdims=1)
    columns = b.op("Transpose", columns, perm=[0, 1, 3, 2])
    y = b.op("Concat", rows, columns, axis=2)
    y = b.op("HardSwish", b.op("Conv", y, b.weight(b.channels, b.channels, 1, 1)))
    rows, columns = b.several("Split", y, b.integers(*size), outputs=2, axis=2)
    columns = b.op("Transpose", columns, perm=[0, 1, 3, 2])
    for part in (rows, columns):
        b.x = b.op("Mul", b.x, b.op("Sigmoid", part))


def running(b: Builder) -> None:
    axis = b.one_of(2, 3)
    x = b.op("CumSum", b.x, b.constant(np.array(axis)))
    b.x = b.op("Mul", x, b.scalar(0.1))


def largest(b: Builder) -> None:
    axis = b.one_of(2, 3)
    x = b.op("ReduceMax" if b.chance(0.5) else "ReduceL2", b.x, axes=[axis], keepdims=1)
    b.x = b.op("Sub", b.x, b.op("Mul", x, b.scalar(0.2)))


def of_rows(b: Builder) -> None:
    """Rows against rows, by Einsum or as matrices."""
    if b.chance(0.5):
        scores = b.op("Einsum", b.x, b.x, equation="bchw,bcvw->bchv")
    else:
        scores = b.op("MatMul", b.x, b.op("Transpose", b.x, perm=[0, 1, 3, 2]))
    scores = b.op("Softmax", b.op("Mul", scores, b.scalar(0.1)), axis=-1)
    b.x = b.op("MatMul", scores, b.x)


OPERATORS: tuple[Callable[[Builder], None], ...] = (
    *(elementwise, normalization, pooling, pooling, padding, margin, half, every_second, flip),
    *(roll, last_row, resize, down_and_up, pixel_shuffle, channel_shuffle, coordinate_attention),
    *(running, largest, of_rows),
)
