"""Orders of axes against what NumPy does with real arrays, over many small shapes."""

import itertools
import math
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from onnx2mvit.ir.layout import (
    BATCH,
    Layout,
    Order,
    Shape,
    axes_between,
    channels_last,
    interface_order,
    plain,
    reshaped_batch,
    reshaped_order,
    transposed,
    without,
)

COUNTS = (1, 2, 6, 8, 12, 16)
ORDERS = [order for rank in range(5) for order in itertools.permutations(range(rank))]


def shapes(count: int) -> list[Shape]:
    """All shapes of up to four axes with so many elements, axes of length one among them."""
    lengths = [length for length in range(1, count + 1) if count % length == 0]
    return [
        shape
        for rank in range(5)
        for shape in itertools.product(lengths, repeat=rank)
        if math.prod(shape) == count
    ]


def reshapes(many: int, seed: int = 0) -> Iterator[tuple[Shape, Shape, Order]]:
    """Shapes before and after a Reshape, and an order for the first."""
    draw = random.Random(seed)
    every = {count: shapes(count) for count in COUNTS}
    for _ in range(many):
        found = every[draw.choice(COUNTS)]
        before, after = draw.choice(found), draw.choice(found)
        order = list(range(len(before)))
        draw.shuffle(order)
        yield before, after, tuple(order)


def numbered(shape: Shape) -> np.ndarray[Shape, np.dtype[np.int64]]:
    return np.arange(math.prod(shape)).reshape(shape)


def lengths(shape: Shape, order: Order) -> Shape:
    return tuple(shape[axis] for axis in order)


@pytest.mark.parametrize("have", ORDERS, ids=str)
def test_axes_between_are_those_of_a_transpose(have: Order) -> None:
    x = numbered((2, 3, 4, 5)[: len(have)])
    for want in itertools.permutations(have):
        assert np.array_equal(
            x.transpose(have).transpose(axes_between(have, want)), x.transpose(want)
        )
    assert axes_between(have, have) == plain(len(have))


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_a_transpose_moves_nothing(order: Order) -> None:
    x = numbered((2, 3, 4, 5)[: len(order)])
    for perm in itertools.permutations(range(len(order))):
        assert np.array_equal(
            x.transpose(order), x.transpose(perm).transpose(transposed(order, perm))
        )


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_what_is_left_without_some_axes(order: Order) -> None:
    x = numbered((2, 3, 4, 5)[: len(order)])
    for many in range(len(order) + 1):
        for axes in itertools.combinations(range(len(order)), many):
            taken: list[Any] = [1 if a in axes else slice(None) for a in range(len(order))]
            left = x.transpose(order)[tuple(taken[axis] for axis in order)]
            assert np.array_equal(left, x[tuple(taken)].transpose(without(order, axes)))


@pytest.mark.parametrize(
    ("rank", "order"),
    [(0, ()), (1, (0,)), (2, (0, 1)), (3, (0, 2, 1)), (4, (0, 2, 3, 1)), (5, (0, 2, 3, 4, 1))],
)
def test_channels_are_last_where_there_are_some(rank: int, order: Order) -> None:
    assert channels_last(rank) == order
    assert plain(rank) == tuple(range(rank))


def test_the_batch_is_where_its_axis_stands() -> None:
    assert Layout((0, 2, 3, 1)).batch_at == 0
    assert Layout((1, 2, 0)).batch_at == 2
    assert Layout((2, 0, 1), batch=1).batch_at == 2
    assert Layout((1, 0), batch=None).batch_at is None


def test_a_model_takes_and_gives_images_channels_last_and_all_else_as_in_the_file() -> None:
    assert interface_order(("batch", "channels", "height", "width"), 0) == (0, 2, 3, 1)
    assert interface_order((None, "height", "width", "channels"), 0) == (0, 1, 2, 3)
    assert interface_order((None, "channels", "length"), 0) == (0, 2, 1)
    assert interface_order((None, "channels", None), 0) == (0, 1, 2)  # tokens
    assert interface_order((None, None), 1) == (1, 0)
    assert interface_order((None,) * 4, None) == (0, 1, 2, 3)


def test_a_reshape_in_another_order_gives_what_one_in_the_files_order_does() -> None:
    kept = 0
    for before, after, order in reshapes(6000):
        found = reshaped_order(before, after, order)
        assert found is not None
        want, result = found
        assert sorted(want) == sorted(order)
        assert sorted(result) == list(range(len(after)))
        x = numbered(before)
        made = x.transpose(want).reshape(lengths(after, result))
        assert np.array_equal(made, x.reshape(after).transpose(result)), (before, after, order)
        kept += want == order != plain(len(order))
    assert kept > 1000


def test_data_moves_only_where_no_order_would_do() -> None:
    moved = 0
    for before, after, order in reshapes(3000, seed=1):
        want, _ = reshaped_order(before, after, order) or (order, ())
        if want == order:
            continue
        moved += 1
        x = numbered(before)
        for other in itertools.permutations(range(len(after))):
            made = x.transpose(order).reshape(lengths(after, other))
            needless = np.array_equal(made, x.reshape(after).transpose(other))
            assert not needless, (before, after, order, other)
    assert moved > 100


@pytest.mark.parametrize(("before", "after"), [((2, 3), (5,)), ((2, 3), (2,)), ((2,), (2, 3))])
def test_a_reshape_to_another_size_has_no_order(before: Shape, after: Shape) -> None:
    assert reshaped_order(before, after, plain(len(before))) is None


@pytest.mark.parametrize(
    ("before", "after", "order", "want", "result"),
    [
        # Flattened pixels, channels last; then channels too, which must stand before them.
        ((BATCH, 8, 4, 4), (BATCH, 8, 16), (0, 2, 3, 1), (0, 2, 3, 1), (0, 2, 1)),
        ((BATCH, 8, 4, 4), (BATCH, 128), (0, 2, 3, 1), (0, 1, 2, 3), (0, 1)),
        ((BATCH, 8, 1, 1), (BATCH, 8), (0, 2, 3, 1), (0, 2, 3, 1), (0, 1)),
        # Groups of channels, and heads of tokens.
        ((BATCH, 8, 4, 4), (BATCH, 2, 4, 16), (0, 2, 3, 1), (0, 2, 3, 1), (0, 3, 1, 2)),
        ((BATCH, 9, 8), (BATCH, 9, 2, 4), (0, 2, 1), (0, 2, 1), (0, 2, 3, 1)),
        ((1, 8), (8,), (1, 0), (1, 0), (0,)),
        ((1,), (), (0,), (0,), ()),
        ((), (1, 1), (), (), (0, 1)),
    ],
)
def test_the_order_after_a_reshape(
    before: Shape, after: Shape, order: Order, want: Order, result: Order
) -> None:
    assert reshaped_order(before, after, order) == (want, result)


def images_stay_apart(before: Shape, after: Shape, batch: int, axis: int, images: int) -> bool:
    """Whether each image by itself has its place on this axis, one after the other."""
    x = numbered(before)
    whole = x.reshape(after)
    if after[axis] % images:
        return False
    alone = [
        part.reshape(*after[:axis], after[axis] // images, *after[axis + 1 :])
        for part in np.split(x, images, axis=batch)
    ]
    return np.array_equal(np.concatenate(alone, axis=axis), whole)


def test_the_batch_after_a_reshape_keeps_images_apart() -> None:
    draw = random.Random(2)
    found, mixed = 0, 0
    for before, after, _ in reshapes(4000, seed=2):
        whole = [axis for axis, length in enumerate(before) if length > 1]
        if not whole:
            continue
        batch = draw.choice(whole)
        images = draw.choice([n for n in range(2, before[batch] + 1) if before[batch] % n == 0])
        axis = reshaped_batch(before, after, batch, images)
        if axis is not None:
            found += 1
            assert images_stay_apart(before, after, batch, axis, images), (before, after, batch)
        else:
            mixed += 1
            every = range(len(after))
            assert not any(images_stay_apart(before, after, batch, a, images) for a in every), (
                before,
                after,
                batch,
                images,
            )
    assert found > 1000
    assert mixed > 100


@pytest.mark.parametrize(
    ("before", "after", "batch", "images", "axis"),
    [
        ((1, 8, 4), (1, 32), 0, 1, 0),
        ((1, 8, 4), (8, 4), 0, 1, 0),  # eight rows of the one image
        ((3, 8, 4), (24, 4), 0, 3, 0),
        ((24, 4), (3, 8, 4), 0, 3, 0),
        ((3, 8, 4), (8, 3, 4), 0, 3, None),
        ((8, 3, 4), (8, 12), 1, 3, 1),
        ((8, 3, 4), (24, 4), 1, 3, None),
        ((1, 3, 4), (3, 4), 1, 3, 0),
        ((3, 4), (1, 3, 4), 0, 3, 1),  # not the axis of length one before it
        ((3, 0), (0, 3), 0, 3, None),
    ],
)
def test_the_axis_of_the_batch_after_a_reshape(
    before: Shape, after: Shape, batch: int, images: int, axis: int | None
) -> None:
    assert reshaped_batch(before, after, batch, images) == axis
