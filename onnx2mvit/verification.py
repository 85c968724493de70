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
from onnx2mvit.probe import Probe
from onnx2mvit.reference import Reference
from onnx2mvit.rewrite import Network

if TYPE_CHECKING:
    import keras

TOLERANCE = 1e-5
CHUNK = 1  # images at a time: all borders of a network are held in memory at once

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

    Raises:
        InvalidModelError: onnxruntime cannot run the file.
    """
    borders = _borders(network)
    reference = Reference(path, [value.name for value in borders])
    plain = Reference(path, optimized=False)
    probe = Probe(model, network.blocks, network.graph.outputs)
    comparison = _Comparison(network, borders)
    for start in range(0, len(images), CHUNK):
        part = images[start : start + CHUNK]
        comparison.add(probe, part, reference(part), plain(part))
        progress(min(start + CHUNK, len(images)), len(images))
    return comparison.result(len(images), description, tolerance)


class _Comparison:
    """Adds up what every image shows."""

    def __init__(self, network: Network, borders: dict[Value, Block]) -> None:
        self.borders = {v: Difference(block.name, block.kind) for v, block in borders.items()}
        outputs = zip(network.graph.outputs, network.graph.output_names, strict=True)
        self.outputs = {value: Difference(name, "output") for value, name in outputs}
        self.noise = 0.0
        self.agreeing: list[bool] = []

    def add(
        self, probe: Probe, images: Images, theirs: dict[str, Array], unoptimized: dict[str, Array]
    ) -> None:
        """Compares all tensors for these images."""
        expected = {v: theirs[v.name] for v in self.borders if v.name in theirs}
        expected |= {value: theirs[output.name] for value, output in self.outputs.items()}
        for output in self.outputs.values():
            difference = np.abs(theirs[output.name] - unoptimized[output.name]).max()
            self.noise = max(self.noise, float(difference))
        for value, array in probe(images, expected):
            if value in self.borders and value in expected:
                self.borders[value].add(array, expected[value])
            if value in self.outputs:
                self.outputs[value].add(array, expected[value])
                if array.ndim == 2:
                    self.agreeing += (array.argmax(-1) == expected[value].argmax(-1)).tolist()

    def result(self, inputs: int, images: str, tolerance: float) -> Verification:
        """The verdict; an output that was not seen is no proof."""
        outputs = list(self.outputs.values())
        worst = max(outputs, key=lambda output: output.max_rel_error)
        compared = [border for border in self.borders.values() if border.seen]
        passed = all(output.seen for output in outputs) and all(
            each.max_rel_error <= tolerance for each in (*outputs, *compared)
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
