"""Masks: intersection over union, and what of them a report shows."""

import numpy as np
import pytest

from onnx2mvit.runtimes.comparison import Comparison, compare
from onnx2mvit.runtimes.masks import mean_iou, some_masks

RIGHT = np.array([[[0, 0, 1, 1], [0, 0, 1, 2]]])


def logits(mask: np.ndarray, classes: int = 3) -> np.ndarray:
    """Logits (images, classes, height, width) whose largest are at this mask."""
    return np.moveaxis(np.eye(classes, dtype=np.float32)[mask], -1, 1)


def test_the_mean_goes_over_classes_that_one_of_them_has() -> None:
    ours = RIGHT.copy()
    ours[0, 1, 3] = 1  # the only pixel of class 2
    assert mean_iou([(RIGHT, RIGHT)], 21) == 1
    assert mean_iou([(ours, RIGHT)], 21) == pytest.approx((1 + 3 / 4 + 0) / 3)
    assert mean_iou([(ours, RIGHT), (RIGHT, RIGHT)], 3) == pytest.approx((1 + 6 / 7 + 1 / 2) / 3)


@pytest.mark.parametrize("axis", [1, -1])
def test_the_classes_of_pixels_are_on_the_axis_that_is_given(axis: int) -> None:
    first, second = (np.moveaxis(logits(mask), 1, axis) for mask in (RIGHT, RIGHT[:, ::-1]))
    found = compare({"y": first}, {"y": second}, answers=True, pixels={"y": axis})["y"]
    ((ours, theirs),) = found.masks
    assert (ours == RIGHT).all() and (theirs == RIGHT[:, ::-1]).all()
    assert found.mean_iou == mean_iou([(RIGHT, RIGHT[:, ::-1])], 3)
    assert found.different_answers == 3 and not found.agreeing


def test_images_are_no_masks_unless_somebody_says_so() -> None:
    found = Comparison(answers=True).add(logits(RIGHT), logits(RIGHT))
    assert found.mean_iou is None and found.masks == [] and found.different_answers == 0


def test_a_few_masks_are_shown_with_the_share_that_differs() -> None:
    ours = RIGHT.copy()
    ours[0, 0, 0] = 2
    first, *_ = shown = some_masks("y", [(ours, RIGHT)] * 5)
    assert len(shown) == 2
    rows = {"onnxruntime": RIGHT[0].tolist(), "keras": ours[0].tolist()}
    assert first == {"output": "y", "differ": 1 / 8, **rows}


def test_a_pixel_that_differs_is_seen_in_a_large_mask() -> None:
    right = np.zeros((1, 300, 200), int)
    ours = right.copy()
    ours[0, 150, 99] = 7
    (mask,) = some_masks("y", [(ours, right)])
    assert (len(mask["keras"]), len(mask["keras"][0])) == (75, 50)
    assert sum(map(sum, mask["keras"])) == 7 and sum(map(sum, mask["onnxruntime"])) == 0
