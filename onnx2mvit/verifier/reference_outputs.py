"""What onnxruntime says by itself, before Keras is in play: the tensors to compare with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from onnx2mvit.base.memory import kept_in_file, let_go
from onnx2mvit.ir.block import Block
from onnx2mvit.ir.graph import Value
from onnx2mvit.ir.network import Network
from onnx2mvit.runtimes import Float64Runner, InBatches, OnnxRuntimeRunner
from onnx2mvit.runtimes.runner import Axes, answers_to, batch_size, joined, rows
from onnx2mvit.verifier.near import has_nan
from onnx2mvit.verifier.rewrite import check_rewrite

CHUNK = 1  # images at a time, so that little is in memory at once
LOOKED_INTO = 2  # so many of the images are looked at inside of the network
HELD = 128 * 2**20  # bytes of tensors inside of it that onnxruntime may hold for them at once

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ReferenceOutputs:
    """The inputs in the file's layout, and the answers to each part of them, all by name.

    `axes` says where they have the batch; `count` is how many images there are, `step` how many
    are answered at once. `rewrite` has the error of the blocks as functions in ONNX, and `inside`
    the tensors of the first images, or of each of them, by the first of each.
    """

    inputs: dict[str, Array]
    axes: Axes
    count: int
    description: str
    step: int
    answers: list[dict[str, Array]]
    rewrite: dict[str, Any]
    inside: dict[int, ReferenceTensors]

    def part(self, start: int, count: int) -> tuple[dict[str, Array], dict[str, Array]]:
        """Some images, a multiple of `step`, and the answers to them."""
        inputs = rows(self.inputs, self.axes, slice(start, start + count))
        first, last = start // self.step, -(-(start + count) // self.step)
        return inputs, joined(self.answers[first:last], self.axes)


def reference_outputs(
    path: Path, network: Network, inputs: Mapping[str, Array], description: str
) -> ReferenceOutputs:
    """Runs a file as it is, unoptimised, and the blocks made of it, on inputs in its layout.

    A file for a fixed number of images gets whole batches: some of them come twice. The tensors
    inside are written to a file: onnxruntime is done, and its memory free, before Keras runs.

    Raises:
        InvalidModelError: onnxruntime cannot run the file.
    """
    step, axes = network.batch or CHUNK, network.batch_axes
    count = batch_size(inputs, axes) or 1
    whole = -(-count // step) * step
    inputs = rows(inputs, axes, np.arange(whole) % count)
    session = OnnxRuntimeRunner(path, outputs=network.graph.source.outputs, optimized=False)
    file = InBatches(session, network.file_batch, axes)
    starts = range(0, whole, step)
    answers = [file(rows(inputs, axes, slice(start, start + step))) for start in starts]
    del session, file  # the blocks have the same weights
    # The blocks are run on as many images as the graph was read for.
    read_for = max(network.graph.batch_size or 1, step)
    reference = ReferenceOutputs(inputs, axes, whole, description, step, answers, {}, {})
    rewrite = check_rewrite(network, *reference.part(0, min(read_for, whole)))
    return replace(reference, rewrite=rewrite, inside=_inside(path, network, reference))


def _inside(
    path: Path, network: Network, reference: ReferenceOutputs
) -> dict[int, ReferenceTensors]:
    """The tensors inside of the network for the first images.

    They are those of all of them, or of one after the other where images that are answered at once
    see each other, and where their tensors are large.
    """
    last = range(0, min(LOOKED_INTO, reference.count), reference.step)[-1]
    size = sum(map(bytes_of_image, borders(network)))
    alone = network.batch is not None or LOOKED_INTO * size > HELD
    images = reference.step if alone else last + reference.step
    session, kept = inner_session(path, network), {}
    for start in range(0, last + 1, images):
        kept[start] = ReferenceTensors(session, network, reference.part(start, images)[0])
        kept[start].keep()
    return kept


def inner_session(path: Path, network: Network) -> OnnxRuntimeRunner:
    """What gives the tensors at the borders of all blocks.

    Raises:
        InvalidModelError: onnxruntime cannot load the file.
    """
    inner = [value.name for value in borders(network)]
    return OnnxRuntimeRunner(path, outputs=network.graph.source.outputs, inner=inner)


def borders(network: Network) -> dict[Value, Block]:
    """What each block hands to the next; of blocks that end together the outermost counts."""
    found: dict[Value, Block] = {}
    for top in network.blocks:
        for block in top.walk():
            found.setdefault(block.output, block)
    return found


def bytes_of_image(value: Value) -> int:
    """How many bytes a tensor has for each image, in float32."""
    return 4 * math.prod((value.shape or ())[1:])


class ReferenceTensors:
    """The inner tensors of a file for some images, held for a piece of the network at a time.

    A piece has `most` bytes, in float32, and a block. By default the whole network is one:
    onnxruntime runs all of it for any piece, and holds all of them meanwhile without a copy.
    `met_nan` says whether one of those that were asked for so far, or of the inputs, has a NaN.
    """

    def __init__(
        self,
        session: OnnxRuntimeRunner | Float64Runner,
        network: Network,
        inputs: Mapping[str, Array],
        most: float = math.inf,
    ) -> None:
        self.session: OnnxRuntimeRunner | Float64Runner | None = session
        self.inputs, self.network = inputs, network
        self.outputs = network.graph.output_names
        self.count = batch_size(inputs, network.batch_axes) or 1
        self.axes = network.batch_axes | {
            value.name: layout.batch for value, layout in network.layouts.items()
        }
        self.piece: dict[Value, int] = {}
        self.names: list[list[str]] = [[]]
        known, held = {*session.inner, *self.outputs}, 0
        for top in network.blocks:  # what is in a block is looked at together
            inside = dict.fromkeys(block.output for block in top.walk())
            if held > most:
                held = 0
                self.names.append([])
            for value in inside:
                if value.name in known and value not in self.piece:
                    held += self.count * bytes_of_image(value)
                    self.piece[value] = len(self.names) - 1
                    self.names[-1].append(value.name)
        self.now: int | None = None
        self.met_nan = has_nan(inputs.values())
        self.arrays: dict[str, Array] = {}

    def __call__(self, value: Value) -> Array | None:
        """The tensor of a value, None if it is not known."""
        piece = self.piece.get(value)
        if value in self.network.graph.inputs:
            return self.inputs[value.name]
        if piece is None:
            return None
        if piece != self.now:
            self.let_go()
            session, names = self.session, self.names[piece]
            assert session is not None
            run = InBatches(
                lambda inputs: session.tensors(inputs, names), self.network.file_batch, self.axes
            )
            self.arrays = run(self.inputs)
            self.met_nan |= has_nan(self.arrays.values())
            self.now = piece
        found = self.arrays[value.name]
        if self.session is None:  # those that were looked at before, in the same file
            let_go([found])
        return found

    def let_go(self) -> None:
        """Holds none of them in memory any more, until one is asked for again."""
        let_go(self.arrays.values())
        if self.session is not None:
            self.now, self.arrays = None, {}

    def keep(self) -> None:
        """Runs the session for the last time: all tensors, in one piece, lie in a file then."""
        for value in list(self.piece)[:1]:
            self(value)
        self.arrays, self.session = kept_in_file(self.arrays), None

    def each(self, value: Value, array: Array) -> Iterator[Array]:
        """What of such a tensor belongs to each image, or to as many as the network takes."""
        step = self.network.batch or CHUNK
        for start in range(0, self.count, step):
            images = range(start, start + step)
            yield answers_to({value.name: array}, self.axes, images, self.count)[value.name]

    @property
    def at_hand(self) -> dict[str, Array]:
        """The inputs, and the tensors of the piece that was looked at last, by name."""
        return {**self.inputs, **self.arrays}
