"""Masks: the class of every pixel, and how far two of them are the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
SHOWN, WIDEST = 2, 96  # so many masks of an output, of so many pixels along each side


def mean_iou(pairs: Iterable[tuple[Array, Array]], classes: int) -> float:
    """The mean, over the classes, of what two masks share of all that either has.

    Args:
        pairs: masks of integers from 0, of one shape in a pair; all pairs are counted together.
        classes: how many classes there are; those that neither mask of any pair has do not count.

    Returns:
        From 0 to 1; 1 where nothing differs.
    """
    counts = np.zeros((classes, classes), np.int64)
    for ours, theirs in pairs:
        both = theirs.astype(np.int64).reshape(-1) * classes + ours.reshape(-1)
        counts += np.bincount(both, minlength=classes**2).reshape(classes, classes)
    shared = counts.diagonal()
    either = counts.sum(0) + counts.sum(1) - shared
    return float((shared[either > 0] / either[either > 0]).mean()) if either.any() else 1.0


def some_masks(name: str, pairs: Iterable[tuple[Array, Array]]) -> list[dict[str, Any]]:
    """Some masks of an output for people, as plain values for JSON.

    Args:
        name: of the output.
        pairs: what Keras and onnxruntime answer, (images, height, width).

    Returns:
        For each the output, the rows of classes of both runtimes, where large images are thinned
        out, and `differ`, the share of all pixels whose class differs. Where they do, a pixel
        that differs stands for its neighbours.
    """
    found = []
    for ours, theirs in ((a, b) for pair in pairs for a, b in zip(*pair, strict=True)):
        step = -(-max(ours.shape) // WIDEST)
        mine, right = thinned(ours, ours != theirs, step), thinned(theirs, ours != theirs, step)
        differ = float((ours != theirs).mean())
        found.append({"output": name, "keras": mine, "onnxruntime": right, "differ": differ})
        if len(found) == SHOWN:
            break
    return found


def thinned(mask: Array, first: Array, step: int) -> list[list[int]]:
    """One pixel of each step × step, of those that come `first` where there are such."""
    height, width = (length // step * step for length in mask.shape)
    cells = (height // step, step, width // step, step)
    parts = [
        array[:height, :width].reshape(cells).swapaxes(1, 2).reshape(*cells[::2], step**2)
        for array in (mask, first)
    ]
    rows: list[list[int]] = np.take_along_axis(parts[0], parts[1].argmax(-1)[..., None], axis=-1)[
        ..., 0
    ].tolist()
    return rows
