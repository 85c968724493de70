"""Masks in report.html: a colour for each class, and where two runtimes differ."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from onnx2mvit.reports.page.masks import class_colour, mask_pictures

MASK: dict[str, Any] = {
    "output": "logits",
    "onnxruntime": [[0, 1, 1], [0, 0, 2]],
    "keras": [[0, 1, 1], [0, 2, 2]],
    "differ": 1 / 6,
}


def pixels(uri: str) -> Any:
    start, _, content = uri.partition(",")
    assert start == "data:image/png;base64"
    return np.array(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))


def test_classes_have_the_colours_of_pascal_voc() -> None:
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 7: (128, 128, 128), 15: (192, 128, 128)}
    assert {number: class_colour(number) for number in known} == known
    assert len({class_colour(number) for number in range(256)}) == 256


def test_both_masks_and_their_difference_are_pictures() -> None:
    (found,) = mask_pictures([MASK])
    colours = np.array([class_colour(number) for number in range(3)])
    assert (pixels(found.onnxruntime) == colours[MASK["onnxruntime"]]).all()
    assert (pixels(found.keras) == colours[MASK["keras"]]).all()
    same, different = pixels(found.difference)[0, 0], pixels(found.difference)[1, 1]
    where = (pixels(found.difference) != same).any(-1)
    assert where.tolist() == [[False, False, False], [False, True, False]]
    assert (same != different).any() and found.differ == 1 / 6
