"""Masks as pictures: a colour for each class, and where two runtimes differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnx2mvit.base.png import Colour, png_uri

Rows = Sequence[Sequence[int]]
SAME, DIFFERENT = (224, 224, 224), (208, 0, 0)


@dataclass(frozen=True)
class MaskPictures:
    """What two runtimes answer to one image, and where that differs; pictures as data: URIs."""

    output: str
    keras: str
    onnxruntime: str
    difference: str
    differ: float


def mask_pictures(masks: Sequence[dict[str, Any]]) -> list[MaskPictures]:
    """The pictures of masks, as the report of a verification holds them."""
    found = []
    for mask in masks:
        ours, theirs = mask["keras"], mask["onnxruntime"]
        pairs = (zip(*rows, strict=True) for rows in zip(ours, theirs, strict=True))
        difference = [[int(mine != right) for mine, right in row] for row in pairs]
        count = 1 + max(max(map(max, rows), default=0) for rows in (ours, theirs))
        colours = [class_colour(number) for number in range(min(count, 256))]
        found.append(
            MaskPictures(
                output=mask["output"],
                keras=picture(ours, colours),
                onnxruntime=picture(theirs, colours),
                difference=picture(difference, [SAME, DIFFERENT]),
                differ=mask["differ"],
            )
        )
    return found


def class_colour(number: int) -> Colour:
    """The colour of a class, as PASCAL VOC has them: its bits, in turn, to red, green and blue."""
    channels = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            channels[channel] |= (number >> (3 * bit + channel) & 1) << (7 - bit)
    red, green, blue = channels
    return red, green, blue


def picture(rows: Rows, colours: Sequence[Colour]) -> str:
    """Rows of indices into colours as a data: URI; classes beyond 256 begin anew."""
    return png_uri(np.array(rows) % 256, colours)
