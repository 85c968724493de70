"""What a detector finds, and how far two runtimes find the same."""

from typing import Any

import numpy as np
import pytest

from onnx2mvit.ir.box_format import BoxFormat
from onnx2mvit.lifter.detection import Detections
from onnx2mvit.runtimes.boxes import agreement, found_in, ious

Array = np.ndarray[Any, Any]
SIZE = (50, 100)
BOXES = np.array([[0.1, 0.2, 0.5, 0.6], [0.12, 0.2, 0.5, 0.6], [0.6, 0.6, 0.8, 0.9]])
# Of no class, then two; the first two boxes are the same thing of class 1.
LIKELY = np.array([[0.1, 0.9, 0.0], [0.3, 0.7, 0.0], [0.2, 0.0, 0.8]])
SSD = Detections("boxes", "scores", BoxFormat(corners=True), None)


def test_of_boxes_that_overlap_the_surest_stays() -> None:
    found = found_in(BOXES, LIKELY, SSD, SIZE)
    assert found.labels.tolist() == [1, 2]
    assert found.scores.tolist() == [0.9, 0.8]
    assert found.boxes.tolist() == BOXES[[0, 2]].tolist()


def test_boxes_of_two_classes_may_lie_in_one_place() -> None:
    likely = LIKELY.copy()
    likely[1] = [0.3, 0.0, 0.7]
    assert found_in(BOXES, likely, SSD, SIZE).labels.tolist() == [1, 2, 2]


def test_the_same_is_found_however_boxes_and_scores_are_said() -> None:
    low, high = BOXES[:, :2], BOXES[:, 2:]
    centres = np.concatenate([(low + high) / 2, high - low], axis=-1)
    pixels = BOXES * (100, 50, 100, 50)
    right = found_in(BOXES, LIKELY, SSD, SIZE)
    with np.errstate(divide="ignore"):
        logits = np.log(LIKELY) + 3
    for boxes, scores, form, activation in (
        (centres, LIKELY, BoxFormat(corners=False), None),
        (pixels, LIKELY, BoxFormat(corners=True, pixels=True), None),
        (BOXES, logits, BoxFormat(corners=True), "softmax"),
    ):
        found = found_in(boxes, scores, Detections("b", "s", form, activation), SIZE)
        assert found.labels.tolist() == right.labels.tolist()
        np.testing.assert_allclose(found.boxes, right.boxes)
        np.testing.assert_allclose(found.scores, right.scores)


def test_each_query_has_one_box_where_none_is_left_out() -> None:
    last = BoxFormat(corners=True, background=-1, overlapping=False)
    scores = np.array([[0.5, 0.2, 0.3], [0.1, 0.6, 0.3], [0.001, 0.002, 0.997]])
    found = found_in(BOXES, scores, Detections("b", "s", last, None), SIZE)
    assert found.labels.tolist() == [1, 0]
    assert found.scores.tolist() == [0.6, 0.5]


def test_classes_by_themselves_have_no_background() -> None:
    form = BoxFormat(corners=True, background=None)
    logits = np.array([[3.0, -9.0], [-9.0, -9.0], [0.0, 2.0]])
    found = found_in(BOXES, logits, Detections("b", "s", form, "sigmoid"), SIZE)
    assert found.labels.tolist() == [0, 1, 0]
    np.testing.assert_allclose(found.scores, 1 / (1 + np.exp([-3.0, -2.0, 0.0])))


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_no_box(number: float) -> None:
    boxes, likely = BOXES.copy(), LIKELY.copy()
    boxes[0, 2], likely[2, 2] = number, np.nan
    assert found_in(boxes, likely, SSD, SIZE).labels.tolist() == [1]


def test_intersection_over_union() -> None:
    some, others = np.array([[0.0, 0.0, 2.0, 2.0]]), np.array([[1.0, 0.0, 3.0, 2.0], [5, 5, 6, 6]])
    assert ious(some, others).tolist() == [[pytest.approx(2 / 6), 0.0]]
    assert ious(some, np.array([[1.0, 1.0, 0.0, 0.0]])).tolist() == [[0.0]]


def moved(right: float) -> Array:
    """The boxes, of which the last has moved so far."""
    return np.stack([*BOXES[:2], BOXES[2] + [right, 0, right, 0]])


def both(ours: Array, ours_likely: Array = LIKELY) -> Any:
    return agreement([(ours[None], BOXES[None])], [(ours_likely[None], LIKELY[None])], SSD, SIZE)


def test_two_runtimes_agree_where_nothing_has_moved() -> None:
    total, (picture,) = both(BOXES)
    assert total.as_dict() == {
        "iou": 0.5, "score": 0.01, "ours": 2, "theirs": 2, "matched": 2, "mean_iou": 1.0
    }  # fmt: skip
    assert picture["ours"] == picture["theirs"]
    assert [box["matched"] for box in picture["ours"]] == [True, True]


def test_a_box_that_has_moved_a_little_matches_and_one_that_moved_far_does_not() -> None:
    total, _ = both(moved(0.05))
    assert total.matched == 2 and total.mean_iou == pytest.approx((1 + 0.15 / 0.25) / 2)
    total, (picture,) = both(moved(0.1))  # an IoU of a third
    assert (total.ours, total.theirs, total.matched) == (2, 2, 1)
    assert [box["matched"] for box in picture["theirs"]] == [True, False]


def test_a_box_of_another_class_does_not_match() -> None:
    total, _ = both(BOXES, LIKELY[:, [0, 2, 1]])
    assert (total.ours, total.matched, total.mean_iou) == (2, 0, None)


def test_a_box_has_one_partner() -> None:
    """Two of ours on one of theirs: the nearer one is it."""
    ours = np.stack([BOXES[0], BOXES[0] + [0.1, 0.0, 0.1, 0.0], BOXES[2]])
    total, (picture,) = both(ours)
    assert (total.ours, total.theirs, total.matched) == (2, 2, 2)  # suppressed
    likely = np.array([[0.1, 0.9, 0.0], [0.1, 0.9, 0.0], [1.0, 0.0, 0.0]])
    far = np.stack([BOXES[0], BOXES[0] + [0.15, 0.0, 0.15, 0.0], BOXES[2]])
    total, (picture,) = agreement([(far[None], BOXES[None])], [(likely[None],) * 2], SSD, SIZE)
    assert (total.ours, total.theirs, total.matched) == (2, 1, 1)
    assert [box["matched"] for box in picture["ours"]] == [True, False]


def test_several_parts_are_added_up() -> None:
    pair = (np.stack([BOXES, moved(0.1)]), np.stack([BOXES, BOXES]))
    likely = (np.stack([LIKELY] * 2),) * 2
    total, pictures = agreement([pair, pair], [likely, likely], SSD, SIZE)
    assert (total.theirs, total.matched, total.mean_iou) == (8, 6, 1.0)
    assert len(pictures) == 2
