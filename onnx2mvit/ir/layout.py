"""What a tensor of ONNX is in Keras: the order of its axes, the batch, the sizes it holds for.

ONNX has channels after the batch (NCHW), Keras has them last (NHWC). An `Order` says which axis
of the ONNX tensor stands at each place of the Keras tensor: (0, 2, 3, 1) is an image in NHWC.
A Transpose in the file is then nothing but another order of the same tensor; data is moved only
where an operator needs one that is not there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

Order = tuple[int, ...]
Shape = tuple[int, ...]
Axes = tuple[str | None, ...]  # what the axes of a tensor are, where that is known

BATCH = 7919  # a prime that stands for the batch where shapes are compared
SPACE = {3: ("length",), 4: ("height", "width"), 5: ("depth", "height", "width")}  # by rank


@dataclass(frozen=True)
class Layout:
    """What became of a tensor in Keras.

    Attributes:
        order: the order of its axes.
        batch: the ONNX axis that holds the batch, if any.
        varying: the ONNX axes whose length goes with the height or the width of the image.
        one_size: whether it is right for images of the traced height and width alone, because
            what computes it, or something before, has them in its code.
    """

    order: Order
    batch: int | None = 0
    varying: frozenset[int] = frozenset()
    one_size: bool = False

    @property
    def batch_at(self) -> int | None:
        """Where the batch stands in the Keras tensor."""
        return None if self.batch is None else self.order.index(self.batch)


def plain(rank: int) -> Order:
    """The order of the file."""
    return tuple(range(rank))


def channels_last(rank: int) -> Order:
    """The order of Keras's layers for images, volumes and sequences with channels."""
    return (0, *range(2, rank), 1) if rank > 2 else plain(rank)


def axes_between(have: Order, want: Order) -> Order:
    """The argument of `transpose` that brings a tensor from one order to another."""
    return tuple(have.index(axis) for axis in want)


def transposed(order: Order, perm: Sequence[int]) -> Order:
    """The order of the same Keras tensor after an ONNX Transpose: nothing moves."""
    return tuple(list(perm).index(axis) for axis in order)


def without(order: Order, axes: Sequence[int]) -> Order:
    """The order that is left when these ONNX axes are taken away."""
    kept = [axis for axis in order if axis not in axes]
    return tuple(axis - sum(gone < axis for gone in axes) for axis in kept)


def reshaped_batch(before: Shape, after: Shape, batch: int, images: int) -> int | None:
    """Which axis of a reshaped tensor holds the batch; None if it is mixed with others.

    The axis holds so many images, or several rows of each, one image after the other. What
    stands before it must be the same, or images would be mixed.
    """
    ahead = math.prod(before[:batch])
    for axis, length in enumerate(after):
        if math.prod(after[:axis]) == ahead and length % images == 0 and length:
            return axis
    return None


def reshaped_order(before: Shape, after: Shape, order: Order) -> tuple[Order, Order] | None:
    """The order in which a tensor is best reshaped, and that of the result.

    A Reshape divides and joins neighbouring axes. It may be done in another order than the
    file's as long as the axes that it joins, or makes of one, stand side by side in theirs; if
    they do, nothing moves, and if not, as little as possible. Axes of length one may stand
    anywhere. None if the sizes contradict.
    """
    groups = reshaped_groups(before, after)
    if groups is None:
        return None
    ways = [
        sorted(groups, key=lambda group: place(order.index(axis) for axis in group[0]))
        for place in (min, max)
    ]
    groups = min(
        ways, key=lambda way: _swaps([order.index(axis) for old, _ in way for axis in old])
    )
    want = [axis for old, _ in groups for axis in old]
    if want == [axis for axis in order if axis in want]:
        want = list(order)
    want += [axis for axis in order if axis not in want]
    result = [axis for _, new in groups for axis in new]
    for axis in range(len(after)):
        if axis not in result:  # of length one: after the axis before it
            result.insert(result.index(axis - 1) + 1 if axis - 1 in result else 0, axis)
    return tuple(want), tuple(result)


def _swaps(places: list[int]) -> int:
    """How many pairs stand the other way round than before."""
    return sum(first > second for first, second in itertools.combinations(places, 2))


def reshaped_groups(before: Shape, after: Shape) -> list[tuple[list[int], list[int]]] | None:
    """The smallest runs of axes that hold the same elements; axes of length one are left out."""
    old = [axis for axis, length in enumerate(before) if length != 1]
    new = [axis for axis, length in enumerate(after) if length != 1]
    groups = []
    while old and new:
        left, right = [old.pop(0)], [new.pop(0)]
        while (have := math.prod(before[a] for a in left)) != (
            want := math.prod(after[a] for a in right)
        ):
            source, target = (old, left) if have < want else (new, right)
            if not source:
                return None
            target.append(source.pop(0))
        groups.append((left, right))
    return None if old or new else groups


def interface_order(axes: Axes, batch: int | None) -> Order:
    """The order in which a model takes a tensor or hands it out.

    The batch is first and the channels of an image, a volume or a signal are last; all else is as
    in the file.
    """
    space = {"length", "height", "width", "depth"} & set(axes)
    last = [axis for axis, name in enumerate(axes) if name == "channels" and space]
    first = [] if batch is None else [batch]
    rest = [axis for axis in range(len(axes)) if axis not in (*first, *last)]
    return (*first, *rest, *last)
