"""Functions that emitted modules get where a single operator takes more than one call of Keras.

This file is never imported: what it defines is copied into emitted modules, as it stands here.
"""

import numpy as np
from keras import layers, ops


def parameter(x, shape, trainable=True, *, name):
    """A tensor that does not depend on the input `x`: the only row of an embedding."""
    row = ops.zeros_like(ops.reshape(x, (-1,))[0], dtype="int32")
    size = 1
    for length in shape:
        size *= length
    return ops.reshape(layers.Embedding(1, size, trainable=trainable, name=name)(row), shape)


def fmod(x, y):
    """What division leaves, with the sign of what is divided."""
    return ops.multiply(ops.sign(x), ops.mod(ops.abs(x), ops.abs(y)))


def divide_integers(x, y):
    """What division of integers gives, without what is left: towards zero, as in C."""
    down = ops.floor_divide(x, y)
    below_zero = ops.not_equal(ops.less(x, 0), ops.less(y, 0))
    inexact = ops.not_equal(ops.multiply(down, y), x)
    return ops.add(down, ops.cast(ops.logical_and(below_zero, inexact), down.dtype))


def one_hot(x, depth, off, on):
    """`on` at the place of each index, from the end where it is negative, `off` beside it."""
    x = ops.expand_dims(ops.cast(x, "int32"), -1)
    x = ops.where(ops.less(x, 0), ops.add(x, depth), x)
    return ops.where(ops.equal(x, ops.arange(depth)), on, off)


def reverse_sequence(x, lengths, batch, time):
    """The first so many steps of each sequence backwards; these are along the axis `time`."""
    shape = [-1 if axis == batch else 1 for axis in range(len(x.shape))]
    lengths = ops.reshape(ops.cast(lengths, "int32"), shape)
    step = ops.cumsum(ops.ones_like(x, dtype="int32"), axis=time) - 1
    step = ops.where(ops.less(step, lengths), lengths - 1 - step, step)
    return ops.take_along_axis(x, step, axis=time)


def affine_grid(theta, size, align_corners=False):
    """Where matrices (batch, n, n + 1) bring places of images, from -1 to 1: (batch, *size, n)."""
    rank = len(size)
    lines = [(np.arange(n) * 2 + 1 - n) / (n - 1 if align_corners else n) for n in size]
    mesh = [*np.meshgrid(*lines, indexing="ij")[::-1], np.ones(size)]  # x before y
    places = np.stack(mesh, axis=-1).reshape(-1, rank + 1).astype("float32")
    grid = ops.matmul(places, ops.transpose(theta, (0, 2, 1)))
    return ops.reshape(grid, (-1, *size, rank))


def spread(x, strides):
    """Zeros between the elements of images, channels last: `strides` from one to the next."""
    for axis, stride in enumerate(strides, start=1):
        if stride > 1:
            x = ops.repeat(x, stride, axis=axis)
            place = ops.cumsum(ops.ones_like(x[:1, ..., :1], dtype="int32"), axis=axis)
            x = ops.where(ops.equal(ops.mod(place, stride), 1), x, 0.0)
            x = x[(slice(None),) * axis + (slice(0, 1 - stride),)]
    return x


def windows(x, size, strides, dilations):
    """All elements of the windows over images, channels last, on a new first axis."""
    parts = [x]
    for axis, (count, stride, dilation) in enumerate(
        zip(size, strides, dilations, strict=True), start=1
    ):
        last = (count - 1) * dilation
        cuts = [
            slice(start, (start - last) or None, stride) for start in range(0, last + 1, dilation)
        ]
        parts = [part[(slice(None),) * axis + (cut,)] for part in parts for cut in cuts]
    return ops.stack(parts, axis=0)


def local_response_normalization(x, size, alpha, beta, bias, axis=-1):
    """Divides every channel by a power of the squares of those around it."""
    rank, reach = len(x.shape), x.shape[axis] - 1
    before, after = min((size - 1) // 2, reach), min(size // 2, reach)
    squares = ops.moveaxis(ops.square(x), axis, -1)
    squares = ops.pad(squares, [(0, 0)] * (rank - 1) + [(before, after)])
    # The window goes over the channels as if they were places, and an axis of space channels.
    window = before + after + 1
    squares = ops.moveaxis(squares, 1, -1)
    near = ops.average_pool(squares, (1,) * (rank - 3) + (window,), strides=1)
    near = ops.moveaxis(ops.moveaxis(near, -1, 1), -1, axis)
    scaled = ops.add(ops.multiply(near, alpha * window / size), bias)
    return ops.divide(x, ops.power(scaled, beta))


def pad_edge(x, widths):
    """Padding by what stands at the border."""
    for axis, (before, after) in enumerate(widths):
        ahead = (slice(None),) * axis
        parts = [ops.repeat(x[(*ahead, slice(0, 1), ...)], before, axis=axis), x][not before :]
        if after:
            parts.append(ops.repeat(x[(*ahead, slice(-1, None), ...)], after, axis=axis))
        x = ops.concatenate(parts, axis=axis)
    return x


def pad_wrap(x, widths):
    """Padding by what stands at the other side, and there again, as often as it takes."""
    for axis, width in enumerate(widths):
        if any(width):
            ones = ops.ones_like(line_of(x, axis), dtype="int32")
            place = ops.cumsum(ops.pad(ones, (width,), constant_values=1)) - 1 - width[0]
            x = ops.take(x, ops.mod(place, ops.sum(ones)), axis=axis)
    return x


def assign(x, index, values):
    """A copy of `x` with x[index] = values.

    `index` has a slice or a list of places for each axis, as np.s_ makes it.
    """
    axis = next((at for at, part in enumerate(index) if part != slice(None)), None)
    if axis is None:
        return values
    inside = (slice(None),) * (axis + 1) + index[axis + 1 :]
    if x.shape[axis] is None:
        if not isinstance(index[axis], slice):
            raise ValueError("the height and the width of what is written to must be known")
        values = assign(x[(slice(None),) * axis + (index[axis],)], inside, values)
        ones = ops.ones_like(x[(0,) * axis + (slice(None),) + (0,) * (len(x.shape) - axis - 1)])
        numbers = ops.cumsum(ops.cast(ones, "int32")) - 1
        places, length = numbers[(index[axis],)], ops.sum(ops.cast(ones, "int32"))
        there = ops.equal(numbers[:, None], places)
        order = ops.where(ops.any(there, axis=1), length + ops.argmax(there, axis=1), numbers)
        return ops.take(ops.concatenate([x, values], axis=axis), order, axis=axis)
    order = list(range(x.shape[axis]))
    places = order[index[axis]] if isinstance(index[axis], slice) else index[axis]
    values = assign(ops.take(x, places, axis=axis), inside, values)
    for number, place in enumerate(places):
        order[place] = x.shape[axis] + number
    return ops.take(ops.concatenate([x, values], axis=axis), order, axis=axis)


def part(x, index, count, axis):
    """One of `count` parts of an axis; the last is smaller where they do not divide it."""
    if x.shape[axis] is None:
        ones = ops.ones_like(line_of(x, axis), dtype="int32")
        size, last = ops.sum(ones[::count, ...]), index == count - 1
        inside = ops.cumsum(ones) > index * size
        there = ops.cumsum(ones[::count, ...]) - 1 + index * size
        return ops.take(x, ops.nonzero(inside)[0] if last else there, axis=axis)
    size = -(-x.shape[axis] // count)
    return x[(slice(None),) * axis + (slice(index * size, (index + 1) * size), ...)]


def depth_to_space_crd(x, size):
    """Channels to blocks of pixels, where those of one channel lie side by side, as in PyTorch."""
    pixels = size**2
    order = [
        depth * pixels + pixel for pixel in range(pixels) for depth in range(x.shape[-1] // pixels)
    ]
    return ops.depth_to_space(ops.take(x, order, axis=-1), size)


def line_of(x, axis):
    """One of the lines of elements along an axis."""
    return x[tuple(slice(None) if at == axis else 0 for at in range(len(x.shape)))]


def resample(x, axis, up, down=1, mode="linear", start=0.0, corners=False):
    """An axis of any length at `up` / `down` times as many positions.

    A step is `down` / `up` pixels from `start` on, or such that with `corners` the first and the
    last position are those of the image. Before and behind it its border goes on.
    """
    ones = ops.ones_like(line_of(x, axis), dtype="float32")
    last = ops.sum(ones) - 1
    number = ops.cumsum(ops.repeat(ones, up)[down - 1 :: down, ...]) - 1
    place = number * last / ops.max(number) if corners else start + number * down / up
    if mode == "nearest":
        return ops.take(x, ops.cast(place, "int32"), axis=axis)
    total, shape = 0.0, [-1 if at == axis else 1 for at in range(len(x.shape))]
    for pixel, share in taps(place, mode):
        index = ops.minimum(ops.maximum(pixel, 0), last)
        pixels = ops.take(x, ops.cast(index, "int32"), axis=axis)
        total = total + pixels * ops.reshape(share, shape)
    return total


def mixture(x, axis, rows):
    """Every element of the result is a sum of some along an axis: `rows` of (index, share)."""
    last, shape = x.shape[axis] - 1, [1] * len(x.shape)
    shape[axis] = len(rows)
    total = 0.0
    for terms in zip(*rows, strict=True):
        indices = [min(max(index, 0), last) for index, _ in terms]
        shares = ops.reshape(ops.array([share for _, share in terms], dtype="float32"), shape)
        total = ops.add(total, ops.multiply(ops.take(x, indices, axis=axis), shares))
    return total


def interpolate_linear(x, axis, size, start, step):
    """Linear interpolation at `size` positions from `start` on, `step` pixels apart."""
    rows, last = [], x.shape[axis] - 1
    for i in range(size):
        position = min(max(start + step * i, 0.0), last)
        index = int(position)
        rows.append([(index, index + 1 - position), (index + 1, position - index)])
    return mixture(x, axis, rows)


def interpolate_cubic(x, axis, size, start, step, sharpness):
    """Cubic interpolation (Keys, 1981) at `size` positions from `start` on, `step` pixels apart."""
    rows, a = [], sharpness
    for i in range(size):
        position = start + step * i
        index = int(position // 1)
        t = position - index
        near = [((a + 2) * d - (a + 3)) * d**2 + 1 for d in (t, 1 - t)]
        far = [((a * d - 5 * a) * d + 8 * a) * d - 4 * a for d in (1 + t, 2 - t)]
        shares = [far[0], near[0], near[1], far[1]]
        rows.append([(index + k - 1, share) for k, share in enumerate(shares)])
    return mixture(x, axis, rows)


def taps(place, mode):
    """The pixels (counted in floats) that a place on an axis is made of, and their shares."""
    if mode == "nearest":
        return [(ops.round(place), 1.0)]
    first = ops.floor(place)
    t = place - first
    if mode == "linear":
        return [(first, 1 - t), (first + 1, t)]
    near = [((1.25 * d - 2.25) * d) * d + 1 for d in (t, 1 - t)]
    far = [((-0.75 * d + 3.75) * d - 6) * d + 3 for d in (1 + t, 2 - t)]
    shares = [far[0], *near, far[1]]
    return [(first + number, share) for number, share in enumerate(shares, start=-1)]


def inside(pixel, length, padding, align_corners):
    """The pixel in an axis of this length that stands for one, and its share: 0 outside."""
    last, share = length - 1, 1.0
    if padding == "zeros":
        share = ops.cast(ops.logical_and(pixel >= 0, pixel <= last), "float32")
    if padding == "reflection":
        border, span = (0.0, last) if align_corners else (-0.5, length)
        pixel = border + span - ops.abs(ops.mod(pixel - border, 2 * span) - span)
    return ops.cast(ops.minimum(ops.maximum(pixel, 0), last), "int32"), share


def grid_sample(x, grid, mode="linear", padding="zeros", align_corners=False):
    """The pixels of images, channels last, at the places of a grid (batch, height, width, 2).

    A place has x first, then y, both from -1 at one border of the image to 1 at the other.
    """
    lengths, axes = [], []
    for axis, place in ((1, grid[..., 1]), (2, grid[..., 0])):
        length = x.shape[axis] or ops.sum(ops.ones_like(line_of(x, axis), dtype="int32"))
        lengths.append(length)
        place = (place + 1) * (length - 1) / 2 if align_corners else ((place + 1) * length - 1) / 2
        axes.append(
            [
                (*inside(pixel, length, padding, align_corners), share)
                for pixel, share in taps(place, mode)
            ]
        )
    image = ops.cumsum(ops.ones_like(grid[:, :1, :1, 0], dtype="int32"), axis=0) - 1
    flat, total = ops.reshape(x, (-1, x.shape[-1])), 0.0
    for row, here, down in axes[0]:
        for column, there, across in axes[1]:
            index = (image * lengths[0] + row) * lengths[1] + column
            pixels = ops.take(flat, index, axis=0)
            total = total + pixels * ops.expand_dims(here * down * there * across, -1)
    return total


def col2im(x, size, block, strides, dilations, pads):
    """Sums patches (batch, places, channels · block) where they lie in images of this size."""
    axes = list(zip(size, block, strides, dilations, pads, strict=True))
    full = [length + sum(pad) for length, *_, pad in axes]
    counts = [
        (whole - (count - 1) * dilation - 1) // stride + 1
        for whole, (_, count, stride, dilation, _) in zip(full, axes, strict=True)
    ]
    number = int(np.prod(block))
    x = ops.reshape(x, (-1, *counts, x.shape[-1] // number, number))
    placed = []
    for index, place in enumerate(np.ndindex(*block)):
        part = spread(x[..., index], strides)
        widths = [
            (at * dilation, whole - at * dilation - length)
            for at, dilation, whole, length in zip(
                place, dilations, full, part.shape[1:-1], strict=True
            )
        ]
        placed.append(ops.pad(part, [(0, 0), *widths, (0, 0)]))
    inside = [slice(first, whole - last) for (first, last), whole in zip(pads, full, strict=True)]
    return sum(placed[1:], placed[0])[(slice(None), *inside)]
