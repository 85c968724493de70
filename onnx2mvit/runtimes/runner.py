"""What runs a network: one method, and an implementation for each runtime.

Runner              named arrays in, named arrays out
 ├── OnnxRuntimeRunner   an ONNX file, in the file's layout
 ├── KerasRunner         a Keras model       ┐
 ├── LiteRTRunner        a LiteRT file       ├ in Keras's layout
 ├── SavedModelRunner    a SavedModel        ┘
 ├── InBatches           another runner, on as many images at a time as it takes
 └── OnnxLayout, KerasLayout   another runner, in the layout of the other side (layouts.py)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, Any]
Inputs = Array | Mapping[str, Array]  # an array alone is the first input, as a rule the images
Outputs = dict[str, Array]


class Runner(Protocol):
    """A network that is ready to run."""

    def __call__(self, inputs: Inputs) -> Outputs:
        """All outputs by name, in the order of the network, for these inputs."""


def by_name(inputs: Inputs, names: Sequence[str]) -> dict[str, Array]:
    """The inputs under their names, of which an array alone has the first."""
    return {names[0]: inputs} if isinstance(inputs, np.ndarray) else dict(inputs)


class InBatches:
    """Runs another runner on `batch` images at a time; None is all at once.

    The last images are filled up by repeating the last one, and what that gives is cut off.
    `progress` is told how many images are done, and of how many.
    """

    def __init__(
        self,
        runner: Runner,
        batch: int | None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.runner, self.batch, self.progress = runner, batch, progress

    def __call__(self, inputs: Inputs) -> Outputs:
        """All outputs for an array of any number of images."""
        assert isinstance(inputs, np.ndarray)
        count, batch = len(inputs), self.batch or len(inputs)
        parts = []
        for start in range(0, count, batch):
            self.progress(start, count)
            parts.append(self._part(inputs[start : start + batch], batch))
        self.progress(count, count)
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _part(self, images: Array, batch: int) -> Outputs:
        if len(images) == batch:
            return self.runner(images)
        missing = np.repeat(images[-1:], batch - len(images), axis=0)
        answers = self.runner(np.concatenate([images, missing]))
        # An output may have several rows for each image.
        return {
            name: answer[: len(answer) * len(images) // batch] for name, answer in answers.items()
        }
