"""Errors as colours, and as bars of a histogram."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

FINEST, COARSEST = -9, 3  # powers of ten that the histogram shows; what is beyond is at its ends
PER_DECADE = 4
WARM = 0.3  # of what is allowed: from here on an error is worth a look


@dataclass(frozen=True)
class Scale:
    """What an error, relative to the largest value of its tensor, is measured by.

    `noise` is what onnxruntime differs from itself, relative as well.
    """

    allowed: float
    noise: float

    def colour(self, error: float | None) -> str:
        """The CSS class of an error: e0 (none at all), e1 (noise), e2, e3 (near), e4 (too far).

        `en` is for what was not compared.
        """
        if error is None:
            return "en"
        if error > self.allowed:
            return "e4"
        if error > self.allowed * WARM:
            return "e3"
        if error == 0:
            return "e0"
        return "e1" if error <= self.noise else "e2"


@dataclass(frozen=True)
class Bar:
    """How many errors lie between two powers of ten; places are shares of the picture's width."""

    left: float
    width: float
    height: float
    count: int
    colour: str
    label: str


@dataclass(frozen=True)
class Histogram:
    """Errors on a logarithmic axis, and where on it the noise and the tolerance are."""

    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, int], ...]
    marks: tuple[tuple[float, str], ...]
    exact: int


def scale_of(verification: dict[str, Any]) -> Scale:
    """The tolerance, and the noise floor."""
    return Scale(verification["tolerance"], verification["noise_floor"])


def histogram(errors: list[float], scale: Scale) -> Histogram:
    """The errors that are not zero in bars; those that are zero are counted beside them."""
    places = [_place(error) for error in errors if error > 0]
    counts = Counter(places)
    shown = max([*places, _place(scale.allowed)]) // PER_DECADE + 1
    axis = _Axis(FINEST, min(shown + 1, COARSEST))
    most = max(counts.values(), default=1)
    bars = []
    for place, count in sorted(counts.items()):
        low, high = 10 ** (place / PER_DECADE), 10 ** ((place + 1) / PER_DECADE)
        here = [error for error in errors if error > 0 and _place(error) == place]
        label = f"{count} from {low:.1e} to {high:.1e}"
        colour = scale.colour(max(here))
        bars.append(Bar(axis(low), axis(high) - axis(low), count / most, count, colour, label))
    marks = [(axis(scale.allowed), "allowed")]
    if scale.noise:
        marks.insert(0, (axis(scale.noise), "noise"))
    ticks = tuple((axis(10.0**power), power) for power in range(axis.first, axis.last + 1))
    return Histogram(tuple(bars), ticks, tuple(marks), sum(error == 0 for error in errors))


def _place(error: float) -> int:
    """The number of the bar that an error is in."""
    place = math.floor(math.log10(error) * PER_DECADE)
    return min(max(place, FINEST * PER_DECADE), COARSEST * PER_DECADE - 1)


@dataclass(frozen=True)
class _Axis:
    """A logarithmic axis between two powers of ten."""

    first: int
    last: int

    def __call__(self, error: float) -> float:
        """Where an error is, as a share of the axis."""
        place = (math.log10(error) - self.first) / (self.last - self.first)
        return min(max(place, 0.0), 1.0)
