"""Stage five: the Keras model against onnxruntime, at every border of a block and at the end."""

from __future__ import annotations

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
CHUNK = 1  # images at a time: all borders of a network are held in memory at once
BORDER_IMAGES = 4  # so many of the images are looked at inside of the network

Array = np.ndarray[Any, Any]


@dataclass
class Difference:
    """How far a tensor is from onnxruntime's. `max_rel_error` is against its largest value."""

    name: str
    kind: str
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
        error = np.abs(ours - theirs).max(initial=0.0)
        # Not a number is as far off as can be; JSON has no word for infinity.
        worst = float(np.nan_to_num(np.float64(error), nan=np.finfo(np.float64).max))
        self.max_abs_error = max(self.max_abs_error, worst)
        largest = float(np.abs(np.nan_to_num(theirs, posinf=0, neginf=0)).max(initial=0.0))
        self.largest = max(self.largest, largest)


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
    reference = Reference(path, [value.name for value in borders])
    unoptimized = Reference(path, optimized=False)
    probe = Probe(model, network.blocks)
    comparison = _Comparison(network, borders)
    step = network.lowered.batch or CHUNK
    images = np.resize(images, (-(-len(images) // step) * step, *images.shape[1:]))
    for start in range(0, len(images), step):
        part = images[start : start + step]
        comparison.expected.append(unoptimized(part))
        if start < BORDER_IMAGES:
            comparison.add(probe, part, reference(part))
        progress(start + step, len(images))
    comparison.end_to_end(model, images)
    return comparison.result(len(images), description, tolerance)


class _Comparison:
    """Adds up what every image shows."""

    def __init__(self, network: Network, borders: dict[Value, Block]) -> None:
        self.network = network
        self.borders = {v: Difference(block.name, block.kind) for v, block in borders.items()}
        self.outputs = [Difference(name, "output") for name in network.graph.output_names]
        self.noise = 0.0
        self.expected: list[dict[str, Array]] = []
        self.agreeing: list[bool] = []

    def add(self, probe: Probe, images: Images, inner: dict[str, Array]) -> None:
        """Compares the borders of the blocks for the last images; `inner` is the reference's."""
        theirs = {value: inner[value.name] for value in self.borders if value.name in inner}
        for value, array in probe(keras_inputs(self.network, images), theirs):
            if value in theirs:
                self.borders[value].add(array, theirs[value])
        for name in self.network.graph.output_names:
            difference = np.abs(inner[name] - self.expected[-1][name]).max()
            self.noise = max(self.noise, float(difference))

    def end_to_end(self, model: keras.Model, images: Images) -> None:
        """Compares the answers: all images at once, against each of them by itself."""
        step = self.network.lowered.batch or len(images)
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
