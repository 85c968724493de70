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
from onnx2mvit.probe import probe, to_onnx_layout
from onnx2mvit.reference import Reference
from onnx2mvit.rewrite import Network

if TYPE_CHECKING:
    import keras

TOLERANCE = 1e-5
CHUNK = 2  # images at a time: all borders of a network are held in memory at once

Array = np.ndarray[Any, Any]


@dataclass
class Difference:
    """How far a tensor is from onnxruntime's. `max_rel_error` is against its largest value."""

    name: str
    kind: str
    max_abs_error: float = 0.0
    largest: float = 0.0

    @property
    def max_rel_error(self) -> float:
        """The largest error as a share of the largest value."""
        return self.max_abs_error / self.largest if self.largest else self.max_abs_error

    def add(self, ours: Array, theirs: Array) -> None:
        """Takes another pair of tensors into account; anything not finite is an infinite error."""
        if ours.shape != theirs.shape:
            raise InvalidModelError(
                f"{self.name}: Keras has shape {list(ours.shape)}, onnxruntime {list(theirs.shape)}"
            )
        error = np.abs(ours.astype(np.float64) - theirs).max(initial=0.0)
        self.max_abs_error = max(self.max_abs_error, float(np.nan_to_num(error, nan=np.inf)))
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
    blocks: tuple[dict[str, Any], ...]

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
    seen = {value: Difference(block.name, block.kind) for value, block in borders.items()}
    names = network.graph.output_names
    answers = [Difference(name, "output") for name in names]
    noise, agreeing = 0.0, 0
    for start in range(0, len(images), CHUNK):
        part = images[start : start + CHUNK]
        theirs, unoptimized = reference(part), plain(part)
        ours = probe(model, network.blocks, part.transpose(0, 2, 3, 1))
        for value, difference in seen.items():
            if value in ours and value.name in theirs:
                difference.add(to_onnx_layout(ours[value]), theirs[value.name])
        for value, name, difference in zip(network.graph.outputs, names, answers, strict=True):
            answer, expected = to_onnx_layout(ours[value]), theirs[name]
            difference.add(answer, expected)
            noise = max(noise, float(np.abs(expected - unoptimized[name]).max()))
            if expected.ndim == 2:
                agreeing += int((answer.argmax(-1) == expected.argmax(-1)).sum())
        progress(min(start + CHUNK, len(images)), len(images))
    worst = max(answers, key=lambda difference: difference.max_rel_error)
    compared = [difference for difference in seen.values() if difference.largest > 0]
    passed = all(each.max_rel_error <= tolerance for each in (*answers, *compared))
    has_classes = all(len(value.shape or ()) == 2 for value in network.graph.outputs)
    return Verification(
        verdict="passed" if passed else "failed",
        inputs=len(images),
        images=description,
        max_abs_error=worst.max_abs_error,
        max_rel_error=worst.max_rel_error,
        tolerance=tolerance,
        top1_agreement=agreeing / (len(images) * len(answers)) if has_classes else None,
        noise_floor=noise,
        blocks=tuple(
            {
                "name": each.name,
                "kind": each.kind,
                "max_abs_error": each.max_abs_error,
                "max_rel_error": each.max_rel_error,
            }
            for each in compared
        ),
    )


def _borders(network: Network) -> dict[Value, Block]:
    """What each block hands to the next; of blocks that end together the outermost counts."""
    borders: dict[Value, Block] = {}
    for top in network.blocks:
        for block in top.walk():
            borders.setdefault(block.output, block)
    return borders
