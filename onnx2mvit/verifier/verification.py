"""The result of a verification."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from onnx2mvit.runtimes import Comparison
from onnx2mvit.verifier.sub_model import SubModel


@dataclass(frozen=True)
class Verification:
    """The proof, as it stands in the report.

    Errors are against onnxruntime on the same images: absolute, and relative to the largest value
    of the tensor. `noise_floor` is how far the outputs of onnxruntime with its optimisations are
    from those without, relative too. `top1_agreement` is a share, None if there are no classes, and
    `mean_iou` that of masks; `masks` are some of these, as `runtimes.masks.some_masks` has them.
    `boxes` says how many boxes match, as `runtimes.boxes.Agreement` does, None if there are none;
    `detections` has some of them, as `runtimes.boxes.agreement` gives them, with their images.
    `rewrite` has the error of the blocks as functions in ONNX, before Keras is in play. `begins`
    says which layer is the first that is wrong on onnxruntime's own tensors, None if none is;
    `first_divergence` is that layer with those tensors, and no part of the report. `batch` is the
    number of images that the model takes, where it mixes them; None for any. `notes` say what
    proves little. `float64` is what float64 says where some of that was too far off, None where
    nothing was.
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
    mean_iou: float | None = None
    masks: list[dict[str, Any]] = field(default_factory=list)
    boxes: dict[str, Any] | None = None
    detections: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    float64: dict[str, Any] | None = None
    begins: dict[str, Any] | None = None
    batch: int | None = None
    first_divergence: SubModel | None = field(default=None, compare=False, repr=False)

    @property
    def passed(self) -> bool:
        """True if every border and the output are within the tolerance."""
        return self.verdict == "passed"

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        names = [each.name for each in fields(self) if each.name != "first_divergence"]
        return {name: getattr(self, name) for name in names}


def proves_little(name: str, output: Comparison) -> list[str]:
    """What an output proves little of, although it is right: one answer to all that was asked."""
    if not output.seen:
        return [f"{name} was compared with nothing: no answer of the file is a number"]
    if output.constant:
        return [f"{name} is the same for every input: that it agrees is no proof of what is before"]
    if output.masks and output.different_answers == 1:
        return [f"{name} has one class at every pixel: that the masks agree is no proof"]
    if output.different_answers == 1 and len(output.agreeing) > 1:
        return [f"{name} has the same first class for every input: their agreement is no proof"]
    return []
