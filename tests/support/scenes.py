"""Images of shapes, with what is in them: for networks that are to learn something."""

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
SIZE = (64, 96)
SHAPES = ("disc", "square", "triangle")  # the classes from 1 on; 0 is none


@dataclass(frozen=True)
class Scenes:
    """Images and what is in them.

    Attributes:
        images: (count, height, width, 3) in [0, 1], with noise.
        boxes: of each image a row for each shape, its class and corners as shares of the image.
        masks: (count, height, width), the class of every pixel.
    """

    images: Array
    boxes: list[Array]
    masks: Array


def scenes(count: int, seed: int, shapes: int = len(SHAPES)) -> Scenes:
    """Images with a shape in each half, so that none hides another, of the first so many shapes."""
    rng = np.random.default_rng(seed)
    height, width = SIZE
    y, x = np.mgrid[:height, :width] + 0.5
    images, found, masks = [], [], []
    for _ in range(count):
        image = rng.uniform(0, 0.4, 3) + rng.normal(0, 0.05, (height, width, 3))
        mask = np.zeros((height, width), np.int64)
        rows = []
        for left in (0.0, width / 2):
            radius, kind = rng.uniform(9, 20), int(rng.integers(1, shapes + 1))
            column = left + rng.uniform(radius, max(width / 2 - radius, radius + 1))
            row = rng.uniform(radius, height - radius)
            down, right = y - row, x - column
            inside = {
                "disc": np.hypot(down, right) < radius,
                "square": np.maximum(abs(down), abs(right)) < radius,
                "triangle": (abs(down) < radius) & (2 * abs(right) < down + radius),
            }[SHAPES[kind - 1]]
            image[inside] = rng.uniform(0.6, 1, 3)
            mask[inside] = kind
            corners = (column - radius, row - radius, column + radius, row + radius)
            sides = (width, height, width, height)
            rows.append([kind, *(at / side for at, side in zip(corners, sides, strict=True))])
        images.append(image.clip(0, 1).astype(np.float32))
        found.append(np.array(rows, np.float32))
        masks.append(mask)
    return Scenes(np.stack(images), found, np.stack(masks))
