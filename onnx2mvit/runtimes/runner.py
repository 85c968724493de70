"""What runs a network: one method, and an implementation for each runtime.

Runner              named arrays in, named arrays out
 ├── OnnxRuntimeRunner   an ONNX file, in the file's layout
 ├── KerasRunner         a Keras model       ┐
 ├── LiteRTRunner        a LiteRT file       ├ in Keras's layout
 ├── OpenVINORunner      an OpenVINO file    │
 ├── SavedModelRunner    a SavedModel        ┘
 ├── InBatches           another runner, on as many images at a time as it takes
 └── OnnxLayout, KerasLayout   another runner, in the layout of the other side (layouts.py)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, Any]
Inputs = Array | Mapping[str, Array]  # an array alone is the first input, as a rule the images
Outputs = dict[str, Array]
Axes = Mapping[str, int | None]  # of the batch, by name; the first where nothing is said
ALL = slice(None)


class Runner(Protocol):
    """A network that is ready to run."""

    def __call__(self, inputs: Inputs) -> Outputs:
        """All outputs by name, in the order of the network, for these inputs."""


def by_name(inputs: Inputs, names: Sequence[str]) -> dict[str, Array]:
    """The inputs under their names, of which an array alone has the first."""
    return {names[0]: inputs} if isinstance(inputs, np.ndarray) else dict(inputs)


def rows(arrays: Mapping[str, Array], axes: Axes, part: slice | Array) -> dict[str, Array]:
    """A part of the batch of each array; one without a batch is whole in every part."""
    return {
        name: array if (axis := axes.get(name, 0)) is None else array[(*[ALL] * axis, part)]
        for name, array in arrays.items()
    }


def joined(parts: Sequence[Mapping[str, Array]], axes: Axes) -> dict[str, Array]:
    """Parts of a batch one after the other; what has no batch is as in the first of them."""
    return {
        name: first
        if len(parts) == 1 or (axis := axes.get(name, 0)) is None
        else np.concatenate([part[name] for part in parts], axis)
        for name, first in parts[0].items()
    }


def answers_to(
    answers: Mapping[str, Array], axes: Axes, images: range, total: int
) -> dict[str, Array]:
    """What of the answers to `total` images belongs to some of them.

    That is one row for each, or several, or one row for several of them.
    """
    found: Outputs = {}
    for name, answer in answers.items():
        axis = axes.get(name, 0)
        length = 0 if axis is None else answer.shape[axis]
        part = slice(images.start * length // total, -(-images.stop * length // total))
        found |= rows({name: answer}, axes, part)
    return found


class InBatches:
    """Runs another runner on `batch` images at a time; None is all at once.

    The last images are filled up by repeating the last one, and what that gives is cut off.
    `axes` says where inputs and outputs have the batch, if it is not their first axis; `progress`
    is told how many images are done, and of how many.
    """

    def __init__(
        self,
        runner: Runner,
        batch: int | None,
        axes: Axes = MappingProxyType({}),
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.runner, self.batch, self.axes, self.progress = runner, batch, axes, progress

    def __call__(self, inputs: Inputs) -> Outputs:
        """All outputs for any number of images."""
        feed = {"": inputs} if isinstance(inputs, np.ndarray) else dict(inputs)
        count = batch_size(feed, self.axes) or 1
        batch, parts = self.batch or count, []
        for start in range(0, count, batch):
            self.progress(start, count)
            part = rows(feed, self.axes, slice(start, start + batch))
            parts.append(self._part(part, min(batch, count - start), batch))
        self.progress(count, count)
        return joined(parts, self.axes)

    def _part(self, inputs: dict[str, Array], count: int, batch: int) -> Outputs:
        last = [rows(inputs, self.axes, slice(count - 1, count))] * (batch - count)
        full = joined([inputs, *last], self.axes)
        answers = self.runner(full[""] if full.keys() == {""} else full)
        return answers_to(answers, self.axes, range(count), batch)


def batch_size(arrays: Mapping[str, Array], axes: Axes) -> int | None:
    """How many images there are; None where no array has a batch."""
    lengths = (
        array.shape[axis]
        for name, array in arrays.items()
        if (axis := axes.get(name, 0)) is not None
    )
    return next(lengths, None)
