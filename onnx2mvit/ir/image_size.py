"""Heights and widths of images, as a user asks for them."""

from __future__ import annotations

from typing import Literal

from onnx2mvit.base.numbers import written_whole
from onnx2mvit.errors import UsageError

ImageSize = tuple[int, int] | Literal["any"]
SMALLEST, LARGEST = 32, 8192
# What to do where a file that leaves the size open has numbers of one in it.
BAKED_IN = (
    "the file declares images of every size: if it was exported at one, ask for that (--image-size)"
)


# What is added to the size that a network was read at to look at it at others: lengths that are
# divided by 32 as before, one that nothing divides, and one that can be halved twice alone.
BESIDE = ((32, 64), (64, 32), (33, 17), (12, 20))


def sizes_beside(
    size: tuple[int, int], is_open: tuple[bool, bool] = (True, True)
) -> list[tuple[int, int]]:
    """Others than this height and width, which differ from each other in both.

    Args:
        size: height and width.
        is_open: whether each of them may be another.
    """
    return [(size[0] + more * is_open[0], size[1] + wider * is_open[1]) for more, wider in BESIDE]


def multiples(steps: tuple[int, int]) -> str:
    """The sizes whose height and width are multiples of these, in words."""
    height, width = steps
    if height == width:
        return f"multiples of {height}"
    return f"multiples of {height} in height and of {width} in width"


def parse_size(text: str) -> tuple[int, int]:
    """ "320" is (320, 320), "192x256" is (192, 256): height and width.

    Raises:
        UsageError: it is neither, or out of bounds.
    """
    parts = text.lower().split("x")
    sizes = [size for part in parts if (size := written_whole(part)) is not None]
    if len(sizes) != len(parts) or len(sizes) > 2:
        raise UsageError(f"image size {text!r}: give a number of pixels, or HEIGHTxWIDTH")
    if not all(SMALLEST <= size <= LARGEST for size in sizes):
        raise UsageError(f"image size {text!r}: from {SMALLEST} to {LARGEST} pixels")
    return sizes[0], sizes[-1]


def parse_image_size(text: str) -> ImageSize:
    """The same, or "any"."""
    return "any" if text == "any" else parse_size(text)
