"""What is done to a photograph before a network sees it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from onnx2mvit.errors import UsageError

INTERPOLATIONS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
CHANNELS = ("rgb", "bgr")
BYTE = 1 / 255
LARGEST = 1 << 14  # pixels along a side


@dataclass(frozen=True)
class Preprocessing:
    """From a photograph to the pixels that a network takes, (height, width, channels) of float32.

    It is brought to a size that covers `size` divided by `crop`, and the centre of `size` is cut
    out of it; without `crop` it becomes `size` whatever its proportions. Its bytes are multiplied
    by `scale`; then, in the order red, green, blue, `mean` is taken off and the rest divided by
    `std`. Where `channels` are "bgr" they are turned around in the end.

    Attributes:
        size: height and width in pixels; None for those of the network's input.
        crop: the share of the shorter side that is left, 0.875 say; None if nothing is cut off.
        interpolation: pillow's filter: "bilinear", "bicubic", "lanczos", ….
        scale: what bytes are multiplied by, 1/255 say.
        mean: one number, or one for each channel, of what is left then.
        std: likewise.
        channels: their order, "rgb" or "bgr".
        origin: from where this is known, as a report says it; "" if it is an assumption.

    Raises:
        UsageError: a value makes no sense.
    """

    size: tuple[int, int] | None = None
    crop: float | None = 1.0
    interpolation: str = "bilinear"
    scale: float = BYTE
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    channels: str = "rgb"
    origin: str = ""

    def __post_init__(self) -> None:
        numbers = (self.scale, *self.mean, *self.std, *([] if self.crop is None else [self.crop]))
        if not all(isinstance(n, int | float) and math.isfinite(n) for n in numbers):
            raise UsageError("preprocessing: scale, crop, mean and std must be finite numbers")
        if not self.scale or not all(self.std):
            raise UsageError("preprocessing: scale and std must not be 0")
        if self.crop is not None and not 0 < self.crop <= 1:
            raise UsageError(f"preprocessing: crop is a share from 0 to 1, not {self.crop}")
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, 3):
                raise UsageError(f"preprocessing: {name} is one number, or three for RGB")
        if self.interpolation not in INTERPOLATIONS:
            known = ", ".join(INTERPOLATIONS)
            raise UsageError(f"preprocessing: {self.interpolation!r} is none of {known}")
        if self.channels not in CHANNELS:
            raise UsageError(f"preprocessing: channels are rgb or bgr, not {self.channels!r}")
        if self.size is not None and not (
            len(self.size) == 2 and all(0 < length <= LARGEST for length in self.size)
        ):
            raise UsageError(f"preprocessing: size is (height, width), not {self.size!r}")

    @property
    def is_assumed(self) -> bool:
        """Whether nobody has said so: then images are taken as RGB in [0, 1]."""
        return not self.origin

    @property
    def affine(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Factors and offsets by which bytes become what the network takes, before any turn."""
        count = max(len(self.mean), len(self.std))
        means, stds = (tuple(each) * (count // len(each)) for each in (self.mean, self.std))
        factors = tuple(self.scale / std for std in stds)
        return factors, tuple(-mean / std for mean, std in zip(means, stds, strict=True))

    def for_input(self, dtype: np.dtype[Any] | None) -> Preprocessing:
        """For an input of this type: integers are bytes as they are, of a size and an order."""
        if dtype is None or dtype.kind == "f":
            return self
        return replace(self, scale=BYTE, mean=(0.0,), std=(1.0,))

    def as_dict(self) -> dict[str, Any]:
        """As it stands in report.json, in the file's metadata, and in the module."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    def changed(self, **given: Any) -> Preprocessing:
        """Another one with what a user gives; None leaves a value as it is."""
        known = {key: value for key, value in given.items() if value is not None}
        return replace(self, **known) if known else self


ASSUMED = Preprocessing()  # RGB in [0, 1], where nothing is known
KNOWN = frozenset(field.name for field in fields(Preprocessing))


def from_dict(given: Mapping[str, Any], origin: str = "") -> Preprocessing:
    """What `Preprocessing.as_dict` has written, or a user by hand.

    Args:
        given: any of its attributes; a number may stand for `size`, `mean` and `std`.
        origin: where it comes from, unless that stands in it.

    Raises:
        UsageError: something in it is unknown, or makes no sense.
    """
    unknown = sorted(set(given) - KNOWN)
    if unknown:
        raise UsageError(
            f"preprocessing: {unknown[0]!r} is unknown; there are {', '.join(sorted(KNOWN))}"
        )
    made: dict[str, Any] = {"origin": origin, **given}
    for name in ("mean", "std"):
        if name in made:
            made[name] = _numbers(name, made[name])
    if isinstance(made.get("size"), int | list):
        size = made["size"]
        made["size"] = (size, size) if isinstance(size, int) else tuple(size)
    return Preprocessing(**made)


def _numbers(name: str, value: Any) -> tuple[float, ...]:
    listed = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if not all(isinstance(each, int | float) and not isinstance(each, bool) for each in listed):
        raise UsageError(f"preprocessing: {name} is one number, or three for RGB")
    return tuple(map(float, listed))
