"""Whether a constant is the same for every image."""

import numpy as np
import pytest

from onnx2mvit.matcher import Mismatch, alike
from onnx2mvit.matcher.rooted import one_image_of

ROW = np.random.default_rng(0).normal(size=(1, 5, 8)).astype(np.float32)
MASK = np.where(ROW > 0, np.float32(0), np.finfo(np.float32).min)


@pytest.mark.parametrize(
    "row", [ROW, MASK, np.full_like(ROW, -np.inf), ROW > 0, ROW.astype(int), ROW[:0]]
)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_what_is_repeated_is_alike(row: np.ndarray, axis: int) -> None:
    assert alike(np.moveaxis(np.repeat(row, 3, axis=0), 0, axis), axis)


def test_sums_in_another_order_are_alike() -> None:
    matrix = np.random.default_rng(1).normal(size=(8, 8)).astype(np.float32)
    forth, back = ROW @ matrix, ROW[..., ::-1] @ matrix[::-1]
    exact = (ROW.astype(np.float64) @ matrix).astype(np.float32)
    assert (forth != back).any() or (forth != exact).any()
    assert alike(np.concatenate([forth, back, exact]))


@pytest.mark.parametrize(
    ("row", "other"),
    [
        (ROW, ROW + np.float32(1e-4)),
        (ROW, ROW * np.float32(1.0001)),
        (ROW, np.where(ROW.max() == ROW, np.float32(0), ROW)),
        (ROW, np.where(ROW.max() == ROW, np.nan, ROW)),
        (MASK, MASK + np.float32(0.5) * (MASK == 0)),
        (MASK, np.where(MASK == 0, MASK, -np.inf)),
        (MASK, -MASK),
    ],
    ids=["added", "scaled", "a zero", "no number", "beside a mask", "infinite", "turned"],
)
def test_what_differs_by_more_is_not(row: np.ndarray, other: np.ndarray) -> None:
    assert not alike(np.concatenate([row, other]).astype(np.float32))
    assert not alike(np.concatenate([other, row]).astype(np.float32))


def test_whole_numbers_and_truth_values_are_alike_only_if_equal() -> None:
    large = np.array([[1 << 30], [(1 << 30) + 1]])
    assert not alike(large) and not alike(np.array([[True], [False]]))


def test_a_constant_for_one_image_has_one_row_or_those_of_an_image() -> None:
    rows = np.arange(12.0).reshape(4, 3)
    assert one_image_of(np.tile(rows[:1], (6, 1)), 0, 3).shape == (1, 3)
    assert np.array_equal(one_image_of(np.tile(rows, (2, 1)), 0, 2), rows)
    assert np.array_equal(one_image_of(np.tile(rows.T, (1, 2)), 1, 2), rows.T)
    for images in (3, 4):  # four rows are none of three images, and each of four has another
        with pytest.raises(Mismatch, match="differs from image to image"):
            one_image_of(rows, 0, images)
