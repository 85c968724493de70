"""What onnxruntime says by itself, before Keras is in play: to the file, and to the rewrite."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnx2mvit.emitter.onnx_functions import check_rewrite
from onnx2mvit.ir.network import Network
from onnx2mvit.runtimes.images import Images
from onnx2mvit.runtimes.reference import Reference

CHUNK = 1  # images at a time, so that little is in memory at once

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Expectation:
    """The images (N, C, H, W), part by part, and the answers to each part by output's name.

    `rewrite` has the error of the blocks as functions in ONNX.
    """

    images: Images
    description: str
    step: int
    answers: list[dict[str, Array]]
    rewrite: dict[str, Any]

    @property
    def parts(self) -> list[Images]:
        """The images, as many at a time as the file takes."""
        starts = range(0, len(self.images), self.step)
        return [self.images[start : start + self.step] for start in starts]

    def answer(self, name: str) -> Array:
        """An output for all images."""
        return np.concatenate([part[name] for part in self.answers])


def expect(path: Path, network: Network, images: Images, description: str) -> Expectation:
    """Runs a file as it is, unoptimised, and the blocks made of it, on images (N, C, H, W).

    A file for a fixed number of images gets whole batches: some of them come twice.

    Raises:
        InvalidModelError: onnxruntime cannot run the file.
    """
    step = network.batch or CHUNK
    images = np.resize(images, (-(-len(images) // step) * step, *images.shape[1:]))
    file = Reference(path, optimized=False)
    answers = [file(images[start : start + step]) for start in range(0, len(images), step)]
    # The blocks are run on as many images as the graph was read for.
    read_for = (network.graph.inputs[0].shape or (1,))[0]
    parts = answers[: max(1, read_for // step)]
    known = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    rewrite = check_rewrite(path, network, images[: len(parts) * step], known)
    return Expectation(images, description, step, answers, rewrite)
