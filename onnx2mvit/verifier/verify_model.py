"""Stage six: the Keras model against onnxruntime, at every border of a block and at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.base.memory import trim
from onnx2mvit.builder import block_weights, other_weights
from onnx2mvit.ir.block import Block
from onnx2mvit.ir.graph import Value
from onnx2mvit.ir.network import Network
from onnx2mvit.lifter.detection import detections
from onnx2mvit.lifter.head import mask_outputs
from onnx2mvit.runtimes import Comparison, OnnxRuntimeRunner, Outputs, compare, worst
from onnx2mvit.runtimes.boxes import agreement
from onnx2mvit.runtimes.images import thumbnail
from onnx2mvit.runtimes.keras_runner import backend_runs
from onnx2mvit.runtimes.layouts import as_the_file, to_keras
from onnx2mvit.runtimes.masks import some_masks
from onnx2mvit.runtimes.runner import answers_to
from onnx2mvit.runtimes.tolerances import OF_PRECISION
from onnx2mvit.verifier.checkpoints import CheckedModel, Checkpoint
from onnx2mvit.verifier.float64 import judge
from onnx2mvit.verifier.judgement import Doubt, Judgement
from onnx2mvit.verifier.reference_outputs import (
    ReferenceOutputs,
    ReferenceTensors,
    borders,
    bytes_of_image,
    inner_session,
)
from onnx2mvit.verifier.sub_model import SubModel, first_divergence, sub_model_before
from onnx2mvit.verifier.verification import Verification, proves_little

if TYPE_CHECKING:
    import keras

BATCH = 4  # so many are answered at once in the end, since they must not see each other
HELD_BY_KERAS = 256 * 2**20  # bytes of tensors inside of the network that Keras may hold for them

SHOWN = 3  # of the weights that are others

Array = np.ndarray[Any, Any]


def verify_model(
    path: Path,
    network: Network,
    model: keras.Model,
    reference: ReferenceOutputs,
    tolerance: float | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Verification:
    """Compares a model with the file it came from, on the images of the reference.

    The answers are compared for all of them, the borders of the blocks for the first few, by
    default as far as the precision of the file allows.

    Raises:
        InvalidModelError: onnxruntime cannot run the file, or the model has other layers.
    """
    if tolerance is None:
        tolerance = OF_PRECISION[network.graph.source.precision]
    proof = _Proof(path, network, reference, tolerance)
    count, step = reference.count, reference.step
    orders = {value: network.order(value) for value in network.graph.inputs}
    checked = CheckedModel(model, network.blocks, orders, network.graph.outputs)

    def look(start: int, tensors: ReferenceTensors) -> bool:
        progress(start, count)
        return proof.inside(checked, tensors, start, reference.part(start, tensors.count)[1])

    trim()
    for first, tensors in reference.inside.items():
        if not look(first, tensors) and tensors.count > step:  # in which of them it is too far off
            for start in range(first, first + tensors.count, step):
                look(start, proof.tensors(start))
    # At last all of them: what TensorFlow takes for its tensors it keeps.
    proof.end_to_end(model)
    for start in sorted(proof.missed.keys() - proof.alone):
        look(start, proof.tensors(start))
    progress(count, count)
    doubts = proof.doubts()
    found = proof.result(judge(path, network, model, doubts) if doubts else None)
    weights = block_weights(network.blocks)
    changed = other_weights(model, weights)
    if changed:  # what hides behind a large bias may be too little for any tolerance
        far = {path: Comparison().add(ours, weights[path]) for path, ours in changed.items()}
        note = _changed({path: each.max_rel_error for path, each in far.items()}, len(weights))
        found = replace(found, verdict="failed", notes=[note, *found.notes])
    return found


def _changed(changed: Mapping[str, float], total: int) -> str:
    """What is said of weights that are others, as after training, and how far each is off."""
    farthest = sorted(changed, key=lambda path: -changed[path])
    shown = ", ".join(f"{path} by {changed[path]:.1e}" for path in farthest[:SHOWN])
    more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
    return (
        f"{len(changed)} of {total} weights are not those of the file, as in a model that was "
        f"trained further: {shown}{more}, as a share of the largest value"
    )


class _Proof:
    """Adds up what every image shows."""

    def __init__(
        self, path: Path, network: Network, reference: ReferenceOutputs, tolerance: float
    ) -> None:
        self.path, self.network, self.reference = path, network, reference
        self.tolerance = tolerance
        self.blocks = borders(network)
        self.borders = {value: Comparison() for value in self.blocks}
        self.size = sum(map(bytes_of_image, self.blocks))  # of all of them
        masks = mask_outputs(network)
        self.outputs = {
            name: Comparison(answers=True, pixels=1 if name in masks else None)
            for name in network.graph.output_names
        }
        # By the first of the images: where they were too far off, and what Keras answers.
        self.missed: dict[int, list[Checkpoint]] = {}
        self.alone: set[int] = set()  # looked into by themselves
        self.answers: dict[int, Outputs] = {}
        self.noise = 0.0
        self.divergence: SubModel | None = None

    def inside(
        self, model: CheckedModel, tensors: ReferenceTensors, start: int, answers: Outputs
    ) -> bool:
        """Compares the borders of the blocks for the images from `start` on; True if all are near.

        `answers` are what the file answers to them if nothing is optimised.
        Where they are as many as the file takes, the first divergence is looked for, unless there
        is one already.
        """
        errors: dict[Checkpoint, Comparison] = {}

        def look(checkpoint: Checkpoint, array: Array) -> None:
            value, theirs = checkpoint.value, tensors(checkpoint.value)
            if theirs is None or value not in self.borders:
                return
            errors[checkpoint] = Comparison()
            for ours, right in zip(
                tensors.each(value, array), tensors.each(value, theirs), strict=True
            ):
                errors[checkpoint].add(ours, right)
            self.borders[value].join(errors[checkpoint])
            if value.name in answers:
                noise = Comparison().add(theirs, answers[value.name])
                self.noise = max(self.noise, noise.max_rel_error)

        inputs = [
            to_keras(tensors.inputs[value.name], self.network.order(value))
            for value in self.network.graph.inputs
        ]
        model.run(inputs, tensors, look)
        missed = [place for place, error in errors.items() if not error.within(self.tolerance)]
        alone = tensors.count == self.reference.step
        self.alone |= {start} if alone else set()
        if missed and alone:
            self.missed[start] = missed
            if self.divergence is None:
                self.divergence = first_divergence(
                    errors,
                    self.tolerance,
                    lambda place: sub_model_before(place, self.network.blocks, tensors),
                )
        return not missed

    def end_to_end(self, model: keras.Model) -> None:
        """Compares the answers: several images at once, against each of them by itself.

        Raises:
            UnsupportedError: Keras's backend cannot run the model.
        """
        reference, run = self.reference, as_the_file(model, self.network)
        fitting = max(2, min(BATCH, HELD_BY_KERAS // max(self.size, 1)))
        at_once = min(self.network.batch or fitting, reference.count)
        for first in range(0, reference.count, at_once):
            count = min(at_once, reference.count - first)
            with backend_runs():
                together = run(reference.part(first, count)[0])
            for start in range(first, first + count, reference.step):
                images = range(start - first, start - first + reference.step)
                ours = answers_to(together, reference.axes, images, count)
                theirs = reference.part(start, reference.step)[1]
                if any(not each.within(self.tolerance) for each in compare(ours, theirs).values()):
                    self.missed.setdefault(start, [])
                self.answers[start] = ours
                for name, output in self.outputs.items():
                    output.add(ours[name], theirs[name])

    @cached_property
    def session(self) -> OnnxRuntimeRunner:
        """For the tensors of images that are looked at only where something is too far off."""
        return inner_session(self.path, self.network)

    def tensors(self, start: int) -> ReferenceTensors:
        """Those of the images from `start` on, as many as the file takes."""
        kept, step = self.reference.inside.get(start), self.reference.step
        if kept is not None and kept.count == step:
            return kept
        return ReferenceTensors(self.session, self.network, self.reference.part(start, step)[0])

    def doubts(self) -> list[Doubt]:
        """The images on which something is too far off; the first ones if only the rewrite is."""
        if not self._rewrite_is_right():
            self.missed.setdefault(0, [])
        step, found = self.reference.step, []
        for start, checkpoints in sorted(self.missed.items()):
            inputs, theirs = self.reference.part(start, step)
            beside, _ = self.reference.part((start + step) % self.reference.count, step)
            ours, tensors = self.answers[start], self.tensors(start)
            found.append(Doubt(start, inputs, beside, theirs, ours, tensors, checkpoints))
        return found

    def _rewrite_is_right(self) -> bool:
        """Whether the blocks as functions answer as the file, as far as that is sure of itself."""
        allowed = max(self.tolerance, self.noise)
        return (self.reference.rewrite["max_rel_error"] or 0.0) <= allowed

    def result(self, judgement: Judgement | None) -> Verification:
        """The verdict; an output that was not seen is no proof."""
        notes = self._settle(judgement.settled) if judgement is not None else []
        farthest = worst(self.outputs.values())
        seen = {value: border for value, border in self.borders.items() if border.seen}
        compared = all(output.seen for output in self.outputs.values())
        right = judgement is None or judgement.verdict == "right"
        agreeing = [same for output in self.outputs.values() for same in output.agreeing]
        masks = [m for name, each in self.outputs.items() for m in some_masks(name, each.masks)]
        ious = [output.mean_iou for output in self.outputs.values()]
        boxes, pictures = self.boxes()
        return Verification(
            verdict="passed" if compared and right else "failed",
            inputs=self.reference.count,
            images=self.reference.description,
            max_abs_error=farthest.max_abs_error,
            max_rel_error=farthest.max_rel_error,
            tolerance=self.tolerance,
            top1_agreement=sum(agreeing) / len(agreeing) if agreeing else None,
            mean_iou=min((iou for iou in ious if iou is not None), default=None),
            masks=masks,
            boxes=boxes,
            detections=pictures,
            noise_floor=self.noise,
            rewrite=self.reference.rewrite,
            blocks=[_row(value, self.blocks[value], border) for value, border in seen.items()],
            notes=[
                *notes,
                *(
                    note
                    for name, each in self.outputs.items()
                    for note in proves_little(name, each)
                ),
            ],
            float64=judgement.as_dict() if judgement is not None else None,
            batch=self.network.batch,
            begins=self.divergence.as_dict() if self.divergence is not None and not right else None,
            first_divergence=None if right else self.divergence,
        )

    def _settle(self, settled: Mapping[int, Mapping[str, tuple[Array, Array]]]) -> list[str]:
        """Compares the answers anew, of some only what is settled, and says so."""
        for name, output in self.outputs.items():
            anew = Comparison(answers=True, pixels=output.pixels)
            for start, ours in self.answers.items():
                theirs = self.reference.part(start, self.reference.step)[1]
                anew.add(*settled.get(start, {}).get(name, (ours[name], theirs[name])))
            self.outputs[name] = anew
        count = len(settled) * self.reference.step
        return [
            f"for {count} of {self.reference.count} inputs the file computes with what is no "
            "number: of what becomes of that, only what all runtimes agree on is compared"
        ] * bool(settled)

    def boxes(self) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        """How far the boxes of a detector match, and some of them with their images."""
        how, image = detections(self.network), self.network.image
        if how is None or image is None:
            return None, []
        height, width, _ = self.network.shape_of_image(image)
        where, what = (self.outputs[name].pairs for name in (how.boxes, how.scores))
        if len(where) != len(what):  # one has another shape, and was not kept
            return None, []
        total, pictures = agreement(where, what, how, (height, width))
        inputs, _ = self.reference.part(0, self.reference.step * len(pictures))
        images = to_keras(inputs[image.name], self.network.order(image))
        for picture, pixels in zip(pictures, images, strict=False):
            picture |= {"image": thumbnail(pixels), "aspect": height / width}
        return total.as_dict(), pictures


def _row(value: Value, block: Block, border: Comparison) -> dict[str, Any]:
    """A border in the report."""
    return {
        "name": block.name,
        "tensor": value.name,
        "kind": block.kind,
        "path": block.path,
        "max_abs_error": border.max_abs_error,
        "max_rel_error": border.max_rel_error,
    }
