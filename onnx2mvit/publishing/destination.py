"""Where a network is published: a folder, or a repository on a model hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from onnx2mvit.errors import UsageError

# Kaggle's word for what each format is loaded with, the third part of an address there.
FRAMEWORKS = {
    "keras": "keras",
    "litert": "tfLite",
    "saved_model": "tensorFlow2",
    "onnx": "onnx",
    "openvino": "other",
    "keras_hub": "keras",
}
HANDLES = {"hf": "hf://USER/NAME", "kaggle": "kaggle://USER/MODEL/FRAMEWORK/VARIATION"}
PART = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class Destination:
    """`hub` is "hf", "kaggle" or "" for a folder; `place` is the folder or the repository."""

    hub: str
    place: str

    @property
    def folder(self) -> Path | None:
        """The folder, None for a hub."""
        return None if self.hub else Path(self.place)

    @property
    def url(self) -> str:
        """Where people find it."""
        match self.hub:
            case "hf":
                return f"https://huggingface.co/{self.place}"
            case "kaggle":
                return f"https://www.kaggle.com/models/{self.place}"
        return str(Path(self.place).resolve())


def destination(to: str | Path, format_: str) -> Destination:
    """Reads what is given for it.

    Args:
        to: a folder, `hf://USER/NAME` or `kaggle://USER/MODEL/FRAMEWORK/VARIATION`.
        format_: what is published, which Kaggle's framework must agree with.

    Raises:
        UsageError: it is none of these.
    """
    hub, separator, place = str(to).partition("://")
    if not separator:
        return Destination("", str(to))
    parts = place.split("/")
    if hub not in HANDLES or not all(PART.fullmatch(part) for part in parts):
        known = " or ".join(HANDLES.values())
        raise UsageError(f"{to!s} is no place to publish: give a folder, {known}")
    if len(parts) != HANDLES[hub].count("/") - 1:
        raise UsageError(f"{to!s}: an address there is {HANDLES[hub]}")
    if hub == "kaggle" and parts[2] != FRAMEWORKS[format_]:
        raise UsageError(
            f"{to!s}: the framework of what is published as {format_} is called "
            f"{FRAMEWORKS[format_]} on Kaggle"
        )
    return Destination(hub, place)
