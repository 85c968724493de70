"""How detectors say where something is, and what goes with that."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BoxFormat:
    """How a block gives boxes, (batch, N, 4).

    Attributes:
        corners: True for left, top, right and bottom; False for centre x and y, width and height.
        pixels: True for pixels, False for shares of the image.
        background: the class that is none, among classes whose probabilities sum to one; None
            where each class is by itself (arXiv:1708.02002, section 4).
        overlapping: whether a thing has several boxes, of which the best is chosen afterwards.
    """

    corners: bool
    pixels: bool = False
    background: int | None = 0
    overlapping: bool = True
