"""Numbers as a person would write them."""

from __future__ import annotations

import numpy as np


def shortest(number: float) -> float:
    """The shortest decimal that is the same float32: 9.999999747378752e-06 is 1e-05."""
    return float(str(np.float32(number)))


def ratio(part: int, whole: int) -> int | float | None:
    """The shortest factor r with round(whole · r) == part; None if no short one has it."""
    if part % whole == 0:
        return part // whole
    for digits in range(1, 7):
        factor = round(part / whole, digits)
        if round(whole * factor) == part:
            return factor
    return None
