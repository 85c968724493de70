"""Images on which int8 is chosen for a target, and others on which it is proven."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnx2mvit.deployment.comparison import Fidelity
from onnx2mvit.deployment.interface import Interface
from onnx2mvit.deployment.kept import at_least
from onnx2mvit.deployment.search import DEMANDED, Search
from onnx2mvit.errors import UnsupportedError, UsageError
from onnx2mvit.runtimes.runner import rows

Array = np.ndarray[Any, Any]
MOST = 256  # images on which it is chosen, and on which it is proven
SEED = 1


@dataclass(frozen=True)
class Apart:
    """Inputs by name, and what they are; none of those that prove was there when it was chosen."""

    tuned: Mapping[str, Array]
    tuned_on: str
    held: Mapping[str, Array]
    held_on: str


def apart(interface: Interface, folder: str | Path, holdout: str | Path | None) -> Apart:
    """Images of a folder, and those of another; without that every second one is kept aside.

    Images that are in both are not kept for the proof.

    Raises:
        UsageError: nothing is left for the proof.
        UnsupportedError: the model does not take one image, or gives no scores of classes.
    """
    first = interface.outputs[0]
    if len(first.shape) != 2 or first.shape[1] == 1 or not first.dtype.startswith("float"):
        shape = ", ".join(first.axes)
        raise UnsupportedError(f"agreement is of classes, and {first.name} ({shape}) has no scores")
    if holdout is not None:
        tuned, tuned_on = interface.some_inputs(folder, MOST, SEED, MOST)
        held, held_on = interface.some_inputs(holdout, MOST, SEED, MOST)
    else:
        both, what = interface.some_inputs(folder, MOST, SEED, 2 * MOST)
        tuned, held = (rows(both, interface.axes, slice(n, None, 2)) for n in (0, 1))
        tuned_on, held_on = f"every second of {what}", "the others, kept aside"
    image = next(tensor.name for tensor in interface.inputs if tensor.is_image)
    seen = set(map(_digest, tuned[image]))
    fresh = np.array([_digest(each) not in seen for each in held[image]], bool)
    if not fresh.any():
        what = f"of {holdout} none is another" if holdout else f"{folder} holds one image"
        raise UsageError(f"the agreement is proven on images that it was not tuned on, and {what}")
    if not fresh.all():
        held_on += f", without {int((~fresh).sum())} that it was tuned on"
    return Apart(tuned, tuned_on, rows(held, interface.axes, np.flatnonzero(fresh)), held_on)


def proven(search: Search, tuned_on: str, held: Fidelity) -> dict[str, Any]:
    """Whether a target was reached, for JSON.

    Args:
        search: what was found for it.
        tuned_on: the images on which that was.
        held: the answers to the others.
    """
    share, wanted = held.top1_agreement or 0.0, f"{100 * search.target.wanted:g}%"
    others = f"{share:.1%} of {held.count} on which it was not chosen"
    passed = search.reached and share >= search.target.wanted
    if search.reached:
        words = f"int8 keeps {others}, where {wanted} are wanted"
    else:
        best = f"{search.tuned.agreement:.1%} of {search.tuned.count} answers"
        words = f"int8 cannot keep {wanted}: at best it keeps {best}, and {others}"
    return {
        "verdict": "passed" if passed else "failed",
        "words": words,
        "wanted": search.target.wanted,
        "tuned": {"images": tuned_on, **search.tuned.as_dict()},
        "chance": {"demanded": DEMANDED, "found": search.target.chance(search.tuned)},
        "all_in_int8": search.plain.as_dict(),
        "held_out": {
            "images": held.images,
            "count": held.count,
            "agreement": share,
            "at_least": at_least(share, held.count),
        },
        "float32": [block for block in search.weights if block in search.levels.floating],
        "static": [block for block in search.weights if block in search.levels.static],
        "blocks": len(search.weights),
        "more_bytes": search.more_bytes,
        "milliseconds": dict(search.milliseconds),
    }


def _digest(image: Array) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest()
