"""Stage five: the Keras model against onnxruntime, at every border of a block and at the end."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.ir.block import Block
from onnx2mvit.ir.graph import Value
from onnx2mvit.ir.network import Network
from onnx2mvit.runtimes.comparison import Difference
from onnx2mvit.runtimes.images import Images
from onnx2mvit.runtimes.reference import Reference
from onnx2mvit.verifier.mismatch import Piece, first_wrong, piece_before
from onnx2mvit.verifier.probe import Border, Probe, keras_inputs, outputs_of
from onnx2mvit.verifier.reference_outputs import Expectation

if TYPE_CHECKING:
    import keras

TOLERANCE = 1e-5
BORDER_IMAGES = 2  # so many of the images are looked at inside of the network
BATCH = 4  # so many are answered at once in the end: they must not see each other
PIECE = 48 * 2**20  # bytes of inner tensors at a time

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Verification:
    """The proof, as it stands in the report.

    Errors are against onnxruntime on the same images: absolute, and relative to the largest
    value of the tensor. `noise_floor` is the absolute difference of onnxruntime to itself with
    its optimisations on and off. `top1_agreement` is a share, None if there are no classes.
    `rewrite` has the error of the blocks as functions in ONNX, before Keras is in play.
    `begins` says which layer is the first that is wrong on onnxruntime's own tensors, None if
    none is; `piece` is that layer with those tensors, and no part of the report.
    """

    verdict: str
    inputs: int
    images: str
    max_abs_error: float
    max_rel_error: float
    tolerance: float
    top1_agreement: float | None
    noise_floor: float
    blocks: list[dict[str, Any]]
    rewrite: dict[str, Any]
    begins: dict[str, Any] | None = None
    piece: Piece | None = field(default=None, compare=False, repr=False)

    @property
    def passed(self) -> bool:
        """True if every border and the output are within the tolerance."""
        return self.verdict == "passed"

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        names = [each.name for each in fields(self) if each.name != "piece"]
        return {name: getattr(self, name) for name in names}


def verify_model(
    path: Path,
    network: Network,
    model: keras.Model,
    expectation: Expectation,
    tolerance: float = TOLERANCE,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Verification:
    """Compares a model with the file it came from, on the images of the expectation.

    The answers are compared for all of them, the borders of the blocks for the first few.

    Raises:
        InvalidModelError: onnxruntime cannot run the file.
    """
    borders = _borders(network)
    step, count = expectation.step, len(expectation.images)
    comparison = _Comparison(network, borders, expectation)
    reference = Reference(path, [value.name for value in borders])
    probe = Probe(model, network.blocks)
    for number, part in enumerate(expectation.parts[: -(-BORDER_IMAGES // step)]):
        progress(number * step, count)
        inner = _Inner(reference, network, part)
        comparison.add(probe, part, inner, number)
        comparison.begin(inner, tolerance)
    del reference
    progress(count, count)
    comparison.end_to_end(model)
    return comparison.result(tolerance)


class _Inner:
    """The reference's inner tensors for some images, held a piece of the network at a time."""

    def __init__(self, reference: Reference, network: Network, images: Images) -> None:
        self.reference, self.images = reference, images
        self.inputs, self.outputs = network.graph.inputs, network.graph.output_names
        self.piece: dict[Value, int] = {}
        self.names: list[list[str]] = [[]]
        known, held = {*reference.inner, *self.outputs}, 0
        for top in network.blocks:  # what is in a block is looked at together
            inside = dict.fromkeys(block.output for block in top.walk())
            if held > PIECE:
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
            names = dict.fromkeys([*self.names[piece], *self.outputs])
            self.arrays = self.reference(self.images, list(names))
            self.now = piece
        return self.arrays[value.name]


class _Comparison:
    """Adds up what every image shows."""

    def __init__(
        self, network: Network, borders: dict[Value, Block], expectation: Expectation
    ) -> None:
        self.network = network
        self.expectation = expectation
        self.borders = {
            v: Difference(block.name, block.kind, block.path) for v, block in borders.items()
        }
        self.outputs = [Difference(name, "output") for name in network.graph.output_names]
        self.noise = 0.0
        self.agreeing: list[bool] = []
        self.places: dict[Border, float] = {}
        self.piece: Piece | None = None

    def add(self, probe: Probe, images: Images, inner: _Inner, number: int) -> None:
        """Compares the borders of the blocks for these images, the part of this number."""

        self.places = {}

        def look(border: Border, array: Array) -> None:
            theirs = inner(border.value)
            if theirs is not None and border.value in self.borders:
                here = Difference(border.value.name, "border")
                here.add(array, theirs)
                self.places[border] = here.max_rel_error
                self.borders[border.value].join(here)

        probe(keras_inputs(self.network, images), inner, look)
        for name in self.network.graph.output_names:
            if name in inner.arrays:
                expected = self.expectation.answers[number][name]
                difference = np.abs(inner.arrays[name] - expected).max()
                self.noise = max(self.noise, float(difference))

    def begin(self, inner: _Inner, tolerance: float) -> None:
        """Looks for the first piece that is wrong on these images, unless there is one already."""
        if self.piece is None:
            blocks = self.network.blocks
            self.piece = first_wrong(
                self.places, tolerance, lambda border: piece_before(border, blocks, inner)
            )

    def end_to_end(self, model: keras.Model) -> None:
        """Compares the answers: several images at once, against each of them by itself."""
        step, images = self.network.batch or BATCH, self.expectation.images
        parts = [
            outputs_of(model, self.network, images[start : start + step])
            for start in range(0, len(images), step)
        ]
        for output in self.outputs:
            ours = np.concatenate([part[output.name] for part in parts])
            theirs = self.expectation.answer(output.name)
            output.add(ours, theirs)
            if ours.ndim == 2:
                self.agreeing += (ours.argmax(-1) == theirs.argmax(-1)).tolist()

    def result(self, tolerance: float) -> Verification:
        """The verdict; an output that was not seen is no proof."""
        worst = max(self.outputs, key=lambda output: output.max_rel_error)
        compared = [border for border in self.borders.values() if border.seen]
        passed = all(output.seen for output in self.outputs) and all(
            each.max_rel_error <= tolerance for each in (*self.outputs, *compared)
        )
        # What onnxruntime is unsure of itself is no fault of the rewrite.
        allowed = max(tolerance, self.noise / worst.largest if worst.largest else self.noise)
        rewrite = self.expectation.rewrite
        passed = passed and (rewrite["max_rel_error"] or 0.0) <= allowed
        return Verification(
            verdict="passed" if passed else "failed",
            inputs=len(self.expectation.images),
            images=self.expectation.description,
            max_abs_error=worst.max_abs_error,
            max_rel_error=worst.max_rel_error,
            tolerance=tolerance,
            top1_agreement=sum(self.agreeing) / len(self.agreeing) if self.agreeing else None,
            noise_floor=self.noise,
            rewrite=rewrite,
            blocks=[
                {
                    "name": each.name,
                    "tensor": value.name,
                    "kind": each.kind,
                    "path": each.path,
                    "max_abs_error": each.max_abs_error,
                    "max_rel_error": each.max_rel_error,
                }
                for value, each in self.borders.items()
                if each.seen
            ],
            begins=self.piece.as_dict() if self.piece is not None else None,
            piece=self.piece,
        )


def _borders(network: Network) -> dict[Value, Block]:
    """What each block hands to the next; of blocks that end together the outermost counts."""
    borders: dict[Value, Block] = {}
    for top in network.blocks:
        for block in top.walk():
            borders.setdefault(block.output, block)
    return borders
