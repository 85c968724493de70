"""Boxes on their image, with their classes: what two runtimes find, side by side."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onnx2mvit.base.png import Colour

WIDTH = 400  # of a picture, in its own units
LINE, LETTER = 17, 7.4  # how high a caption is, and how wide a letter of it
DARK = 0.55  # up to this brightness of a colour white is read well on it
GOLDEN = 0.618034  # by which hues of classes in a row are far apart
MOST_CAPTIONS = 12


@dataclass(frozen=True)
class DrawnBox:
    """A box in the units of its picture; `caption` is empty where there would be too many."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    matched: bool
    what: str
    caption: str
    caption_x: float
    caption_y: float
    caption_width: float
    letters: str


@dataclass(frozen=True)
class RuntimePicture:
    """What a runtime finds in an image; `alone` counts the boxes that the other has not."""

    name: str
    boxes: tuple[DrawnBox, ...]
    alone: int


@dataclass(frozen=True)
class DetectionPictures:
    """An image as a data: URI, its height where its width is `WIDTH`, and what is found in it."""

    image: str
    width: int
    height: int
    runtimes: tuple[RuntimePicture, ...]


def detection_pictures(detections: Sequence[dict[str, Any]]) -> list[DetectionPictures]:
    """The pictures of boxes, as the report of a verification holds them."""
    return [
        DetectionPictures(
            each["image"],
            WIDTH,
            round(WIDTH * each["aspect"]),
            tuple(
                _drawn(name, each[key], round(WIDTH * each["aspect"]))
                for name, key in (("onnxruntime", "theirs"), ("Keras", "ours"))
            ),
        )
        for each in detections
    ]


def _drawn(name: str, boxes: Sequence[dict[str, Any]], height: int) -> RuntimePicture:
    """The boxes of a runtime; the surest are drawn last, over the others, and have captions."""
    drawn = [_box(each, number, height) for number, each in enumerate(boxes)]
    alone = sum(not each["matched"] for each in boxes)
    return RuntimePicture(name, tuple(reversed(drawn)), alone)


def _box(found: dict[str, Any], number: int, height: int) -> DrawnBox:
    left, top, right, bottom = (min(max(side, 0.0), 1.0) for side in found["box"])
    x, y = left * WIDTH, top * height
    what = f"{found['label']}  {found['score']:.2f}{'' if found['matched'] else '  ≠'}"
    shown = number < MOST_CAPTIONS or not found["matched"]
    wide = LETTER * len(what) + 8
    colour = bright(found["label"])
    return DrawnBox(
        x=round(x, 1),
        y=round(y, 1),
        width=round((right - left) * WIDTH, 1),
        height=round((bottom - top) * height, 1),
        colour="#{:02x}{:02x}{:02x}".format(*colour),
        matched=found["matched"],
        what=what,
        caption=what if shown else "",
        caption_x=round(min(x, WIDTH - wide), 1),
        caption_y=round(max(y - LINE, 0), 1),
        caption_width=round(wide, 1),
        letters="#fff" if brightness(colour) < DARK else "#000",
    )


def bright(label: int) -> Colour:
    """The colour of a class on a picture: those of masks would be too dark for lines."""
    red, green, blue = colorsys.hsv_to_rgb((0.33 + label * GOLDEN) % 1, 0.9, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def brightness(colour: Colour) -> float:
    """From 0 to 1, as an eye sees it (ITU-R BT.601)."""
    red, green, blue = colour
    return (0.299 * red + 0.587 * green + 0.114 * blue) / 255
