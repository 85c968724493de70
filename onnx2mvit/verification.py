"""Stage five: the Keras model against onnxruntime, at every border of a block and at the end."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.block import Block
from onnx2mvit.errors import InvalidModelError
from onnx2mvit.graph import Value
from onnx2mvit.images import Images
from onnx2mvit.probe import Probe, keras_inputs, outputs_of
from onnx2mvit.reference import Reference
from onnx2mvit.rewrite import Network

if TYPE_CHECKING:
    import keras

TOLERANCE = 1e-5
CHUNK = 1  # images at a time, so that little is in memory at once
BORDER_IMAGES = 2  # so many of the images are looked at inside of the network
BATCH = 2  # so many are answered at once in the end: they must not see each other
PIECE = 48 * 2**20  # bytes of inner tensors at a time

Array = np.ndarray[Any, Any]


@dataclass
class Difference:
    """How far a tensor is from onnxruntime's. `max_rel_error` is against its largest value."""

    name: str
    kind: str
    path: str = ""
    max_abs_error: float = 0.0
    largest: float = 0.0
    seen: bool = False

    @property
    def max_rel_error(self) -> float:
        """The largest error as a share of the largest value."""
        return self.max_abs_error / self.largest if self.largest else self.max_abs_error

    def add(self, ours: Array, theirs: Array) -> None:
        """Takes another pair of tensors into account; anything not finite is the largest error."""
        if ours.shape != theirs.shape:
            raise InvalidModelError(
                f"{self.name}: Keras has shape {list(ours.shape)}, onnxruntime {list(theirs.shape)}"
            )
        self.seen = True
        error = _largest(ours - theirs)
        # Not a number is as far off as can be; JSON has no word for infinity.
        worst = float(np.nan_to_num(np.float64(error), nan=np.finfo(np.float64).max))
        self.max_abs_error = max(self.max_abs_error, worst)
        largest = _largest(theirs)
        if not np.isfinite(largest):
            largest = _largest(np.nan_to_num(theirs, posinf=0, neginf=0))
        self.largest = max(self.largest, largest)


def _largest(array: Array) -> float:
    """The largest magnitude in an array; not a number if there is such a value."""
    return float(np.maximum(array.max(initial=0.0), -array.min(initial=0.0)))


@dataclass(frozen=True)
class Verification:
    """The proof, as it stands in the report.

    Errors are against onnxruntime on the same images: absolute, and relative to the largest
    value of the tensor. `noise_floor` is the absolute difference of onnxruntime to itself with
    its optimisations on and off. `top1_agreement` is a share, None if there are no classes.
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

    @property
    def passed(self) -> bool:
        """True if every border and the output are within the tolerance."""
        return self.verdict == "passed"

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self)


def verify_model(
    path: Path,
    network: Network,
    model: keras.Model,
    images: Images,
    description: str,
    tolerance: float = TOLERANCE,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Verification:
    """Compares a model with the file it came from on images (N, C, H, W).

    The answers are compared for all of them, the borders of the blocks for the first few.

    Raises:
        InvalidModelError: onnxruntime cannot run the file.
    """
    borders = _borders(network)
    step = network.lowered.batch or CHUNK
    images = np.resize(images, (-(-len(images) // step) * step, *images.shape[1:]))
    parts = [images[start : start + step] for start in range(0, len(images), step)]
    comparison = _Comparison(network, borders)
    unoptimized = Reference(path, optimized=False)
    for part in parts:
        comparison.expected.append(unoptimized(part))
    del unoptimized
    reference = Reference(path, [value.name for value in borders])
    probe = Probe(model, network.blocks)
    for number, part in enumerate(parts[: -(-BORDER_IMAGES // step)]):
        progress(number * step, len(images))
        comparison.add(probe, part, _Inner(reference, network, part), number)
    del reference
    progress(len(images), len(images))
    comparison.end_to_end(model, images)
    return comparison.result(len(images), description, tolerance)


class _Inner:
    """The reference's inner tensors for some images, held a piece of the network at a time."""

    def __init__(self, reference: Reference, network: Network, images: Images) -> None:
        self.reference, self.images = reference, images
        self.outputs = network.graph.output_names
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

    def __init__(self, network: Network, borders: dict[Value, Block]) -> None:
        self.network = network
        self.borders = {
            v: Difference(block.name, block.kind, block.path) for v, block in borders.items()
        }
        self.outputs = [Difference(name, "output") for name in network.graph.output_names]
        self.noise = 0.0
        self.expected: list[dict[str, Array]] = []
        self.agreeing: list[bool] = []

    def add(self, probe: Probe, images: Images, inner: _Inner, number: int) -> None:
        """Compares the borders of the blocks for these images, the part of this number."""

        def look(value: Value, array: Array) -> None:
            theirs = inner(value)
            if theirs is not None and value in self.borders:
                self.borders[value].add(array, theirs)

        probe(keras_inputs(self.network, images), inner, look)
        for name in self.network.graph.output_names:
            if name in inner.arrays:
                difference = np.abs(inner.arrays[name] - self.expected[number][name]).max()
                self.noise = max(self.noise, float(difference))

    def end_to_end(self, model: keras.Model, images: Images) -> None:
        """Compares the answers: several images at once, against each of them by itself."""
        step = self.network.lowered.batch or BATCH
        parts = [
            outputs_of(model, self.network, images[start : start + step])
            for start in range(0, len(images), step)
        ]
        for output in self.outputs:
            ours = np.concatenate([part[output.name] for part in parts])
            theirs = np.concatenate([part[output.name] for part in self.expected])
            output.add(ours, theirs)
            if ours.ndim == 2:
                self.agreeing += (ours.argmax(-1) == theirs.argmax(-1)).tolist()

    def result(self, inputs: int, images: str, tolerance: float) -> Verification:
        """The verdict; an output that was not seen is no proof."""
        worst = max(self.outputs, key=lambda output: output.max_rel_error)
        compared = [border for border in self.borders.values() if border.seen]
        passed = all(output.seen for output in self.outputs) and all(
            each.max_rel_error <= tolerance for each in (*self.outputs, *compared)
        )
        return Verification(
            verdict="passed" if passed else "failed",
            inputs=inputs,
            images=images,
            max_abs_error=worst.max_abs_error,
            max_rel_error=worst.max_rel_error,
            tolerance=tolerance,
            top1_agreement=sum(self.agreeing) / len(self.agreeing) if self.agreeing else None,
            noise_floor=self.noise,
            blocks=[
                {
                    "name": each.name,
                    "kind": each.kind,
                    "path": each.path,
                    "max_abs_error": each.max_abs_error,
                    "max_rel_error": each.max_rel_error,
                }
                for each in compared
            ],
        )


def _borders(network: Network) -> dict[Value, Block]:
    """What each block hands to the next; of blocks that end together the outermost counts."""
    borders: dict[Value, Block] = {}
    for top in network.blocks:
        for block in top.walk():
            borders.setdefault(block.output, block)
    return borders
