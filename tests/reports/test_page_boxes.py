"""Boxes in report.html: on their image, with class and probability, and which do not match."""

from typing import Any

from onnx2mvit.reports.page.boxes import MOST_CAPTIONS, WIDTH, detection_pictures


def box(label: int, where: list[float], matched: bool = True) -> dict[str, Any]:
    return {"label": label, "score": 0.875, "box": where, "matched": matched}


RIGHT = [0.1, 0.2, 0.6, 0.7]
PICTURE = {
    "image": "data:image/png;base64,AA==",
    "aspect": 0.5,
    "theirs": [box(1, RIGHT), box(2, [-0.5, 0.9, 1.5, 1.1])],
    "ours": [box(1, RIGHT), box(3, RIGHT, matched=False)],
}


def test_boxes_lie_where_they_are_in_the_image() -> None:
    (picture,) = detection_pictures([PICTURE])
    theirs, ours = picture.runtimes
    assert (theirs.name, ours.name) == ("onnxruntime", "Keras")
    assert (picture.width, picture.height) == (WIDTH, WIDTH / 2)
    wide, first = theirs.boxes  # the surest is drawn last
    assert (first.x, first.y) == (0.1 * WIDTH, 0.1 * WIDTH)
    assert (first.width, first.height) == (0.5 * WIDTH, 0.25 * WIDTH)
    # What is beyond the image is cut off.
    assert (wide.x, wide.width, wide.height) == (0, WIDTH, 0.05 * WIDTH)
    assert first.caption == "1  0.88" and first.caption_y + 17 == first.y


def test_classes_have_colours_and_a_box_without_a_match_is_marked() -> None:
    (picture,) = detection_pictures([PICTURE])
    theirs, ours = picture.runtimes
    assert theirs.boxes[1].colour == ours.boxes[1].colour != theirs.boxes[0].colour
    assert (theirs.alone, ours.alone) == (0, 1)
    assert [each.matched for each in ours.boxes] == [False, True]
    assert ours.boxes[0].caption.endswith("≠")


def test_of_many_boxes_the_surest_have_captions_and_those_that_do_not_match() -> None:
    many = [box(1, RIGHT, matched=number != 30) for number in range(40)]
    (picture,) = detection_pictures([PICTURE | {"ours": many}])
    captions = [bool(each.caption) for each in reversed(picture.runtimes[1].boxes)]
    assert captions == [number < MOST_CAPTIONS or number == 30 for number in range(40)]
