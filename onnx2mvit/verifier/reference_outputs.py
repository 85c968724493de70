"""What onnxruntime says by itself, before Keras is in play: the tensors to compare with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnx2mvit.ir.graph import Value
from onnx2mvit.ir.network import Network
from onnx2mvit.runtimes import InBatches, OnnxRuntimeRunner, file_images
from onnx2mvit.runtimes.images import Images
from onnx2mvit.verifier.rewrite import check_rewrite

CHUNK = 1  # images at a time, so that little is in memory at once
HELD = 48 * 2**20  # bytes of inner tensors at a time

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ReferenceOutputs:
    """The images in the file's layout, and the answers to each part of them by output's name.

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


def reference_outputs(
    path: Path, network: Network, images: Images, description: str
) -> ReferenceOutputs:
    """Runs a file as it is, unoptimised, and the blocks made of it, on images (N, H, W, C).

    A file for a fixed number of images gets whole batches: some of them come twice.

    Raises:
        InvalidModelError: onnxruntime cannot run the file.
    """
    step = network.batch or CHUNK
    images = file_images(network, images)
    images = np.resize(images, (-(-len(images) // step) * step, *images.shape[1:]))
    session = OnnxRuntimeRunner(path, optimized=False)
    file = InBatches(session, session.batch)
    answers = [file(images[start : start + step]) for start in range(0, len(images), step)]
    # The blocks are run on as many images as the graph was read for.
    read_for = (network.graph.inputs[0].shape or (1,))[0]
    parts = answers[: max(1, read_for // step)]
    known = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    rewrite = check_rewrite(network, images[: len(parts) * step], known)
    return ReferenceOutputs(images, description, step, answers, rewrite)


class ReferenceTensors:
    """onnxruntime's inner tensors for some images, held for a piece of the network at a time."""

    def __init__(self, session: OnnxRuntimeRunner, network: Network, images: Images) -> None:
        self.session, self.images = session, images
        self.inputs, self.outputs = network.graph.inputs, network.graph.output_names
        self.piece: dict[Value, int] = {}
        self.names: list[list[str]] = [[]]
        known, held = {*session.inner, *self.outputs}, 0
        for top in network.blocks:  # what is in a block is looked at together
            inside = dict.fromkeys(block.output for block in top.walk())
            if held > HELD:
                held = 0
                self.names.append([])
            for value in inside:
                if value.name in known and value not in self.piece:
                    held += 4 * len(images) * math.prod((value.shape or ())[1:])
                    self.piece[value] = len(self.names) - 1
                    self.names[-1].append(value.name)
        self.now: int | None = None
        self.arrays: dict[str, Array] = {}

    def __call__(self, value: Value) -> Array | None:
        """The tensor of a value, None if it is not known."""
        piece = self.piece.get(value)
        if value in self.inputs:
            return self.images
        if piece is None:
            return None
        if piece != self.now:
            self.arrays = {}
            names = list(dict.fromkeys([*self.names[piece], *self.outputs]))
            run = InBatches(lambda images: self.session.tensors(images, names), self.session.batch)
            self.arrays = run(self.images)
            self.now = piece
        return self.arrays[value.name]
