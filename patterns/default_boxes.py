"""SSD's default boxes (arXiv:1512.02325, section 2.2): scales and aspect ratios at every place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnx2mvit.matcher import Array, require

Sizes = Sequence[tuple[int, ...]]


def default_boxes_of(boxes: Array, maps: Sizes, anchors: Sequence[int]) -> dict[str, Any]:
    """The scales and aspect ratios of default boxes (N, 4).

    Raises:
        Mismatch: there are none by which these are the default boxes of maps of these sizes.
    """
    counts = [height * width * count for (height, width), count in zip(maps, anchors, strict=True)]
    require(sum(counts) == len(boxes), "they are not those of the maps")
    require(all(count % 2 == 0 for count in anchors), "a place has an odd number of boxes")
    firsts = [
        boxes[start : start + count, 2:].astype(np.float64)
        for start, count in zip(np.cumsum([0, *counts]), anchors, strict=False)
    ]
    scales = [float(first[0, 0]) for first in firsts]
    # Between two scales is the root of their product, so that the last has one after it.
    scales.append(float(firsts[-1][1, 0]) ** 2 / scales[-1])
    ratios = [
        tuple(short((scale / float(first[at].min())) ** 2) for at in range(2, len(first), 2))
        for scale, first in zip(scales, firsts, strict=False)
    ]
    rule: dict[str, Any] = {"scales": tuple(map(short, scales)), "aspect_ratios": tuple(ratios)}
    for clip in (True, False):
        made = default_boxes(maps, **rule, clip=clip)
        if np.allclose(made, boxes, rtol=0, atol=2e-6):
            return rule if clip else {**rule, "clip": False}
    require(False, "its default boxes do not follow from scales and aspect ratios")
    return {}


def short(number: float) -> float:
    """A number with as many digits as a constant of single precision has."""
    rounded = float(f"{number:.6g}")
    return int(rounded) if rounded.is_integer() else rounded


def default_boxes(
    maps: Sizes,
    scales: Sequence[float],
    aspect_ratios: Sequence[Sequence[float]],
    clip: bool = True,
) -> Any:
    """(N, 4): centre x and y, width and height of SSD's default boxes, as shares of the image."""
    boxes = []
    for k, (height, width) in enumerate(maps):
        shapes = box_shapes(scales[k], scales[k + 1], aspect_ratios[k])
        y, x = np.indices((height, width)).reshape(2, -1) + 0.5
        centres = np.stack([x / width, y / height], axis=-1).repeat(len(shapes), axis=0)
        boxes.append(np.concatenate([centres, np.tile(shapes, (height * width, 1))], axis=-1))
    return np.clip(np.concatenate(boxes), 0, 1 if clip else None).astype("float32")


def box_shapes(scale: float, following: float, aspect_ratios: Sequence[float]) -> Any:
    """(A, 2): widths and heights of the boxes at a place, for the scales of a map and the next."""
    between = (scale * following) ** 0.5
    shapes = [(scale, scale), (between, between)]
    for root in (ratio**0.5 for ratio in aspect_ratios):
        shapes += [(scale * root, scale / root), (scale / root, scale * root)]
    return np.array(shapes, "float32")
