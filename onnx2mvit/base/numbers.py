"""Numbers as a person would write them, and those that a person wrote."""

from __future__ import annotations

import math

import numpy as np

LONGEST = 18  # digits of a whole number that is written somewhere; Python reads 4,300 at most
ROUNDED = 4 * 2.0**-23  # by so much a number is off after some roundings to float32


def written_whole(text: str) -> int | None:
    """The whole number that a text of ASCII digits is; None if it is anything else."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= LONGEST else None


def written_number(text: str) -> float | None:
    """The number that a text such as 0.5, 1e-3 or 1/255 is, in ASCII; None if it is no such."""
    if not text.isascii() or "_" in text:
        return None
    try:
        over, *under = (float(part) for part in text.split("/"))
        number = over / under[0] if under else over
    except (ValueError, ZeroDivisionError):
        return None
    return number if len(under) < 2 and math.isfinite(number) else None


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


def is_unbiased(factor: float, count: int) -> bool:
    """True if it makes the mean of `count` squares an estimate of a variance: count / (count - 1).

    It may have been rounded to float32 some times.
    """
    return count > 1 and math.isclose(factor, count / (count - 1), rel_tol=ROUNDED)
