"""A detector's answers as boxes: the suppression that its file was cut before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.base.backend import import_keras
from onnx2mvit.errors import UsageError
from onnx2mvit.lifter.detection import Detections

if TYPE_CHECKING:
    import keras


def detector(
    model: keras.Model,
    report: Mapping[str, Any],
    *,
    score_threshold: float = 0.01,
    iou_threshold: float = 0.5,
    top_k: int = 400,
    max_boxes: int = 200,
) -> keras.Model:
    """A model that answers with the boxes that are found in images, the best first.

    Exported with its non-max suppression, a detector is cut before it (`--outputs`), where it has
    boxes for every place. Which output has boxes, how they are said, and what makes probabilities
    of the scores, stands in the report of the conversion. The defaults are ml-cvnets'. The layers
    are those of `model`, and one more, for which a saved model needs this package.

    Args:
        model: what `convert` made, or its fine-tuned copy: it gives boxes (batch, N, 4) and scores
            (batch, N, classes).
        report: that of the conversion, `Conversion.report` or what report.json holds.
        score_threshold: boxes stay whose probability is above it.
        iou_threshold: the intersection as a share of the union, above which one of two boxes of
            a class goes, the one with the lower score. A detector that finds each thing once
            (DETR) suppresses nothing.
        top_k: how many boxes of each class are looked at, the best ones.
        max_boxes: how many boxes of an image stay at most.

    Returns:
        A model that gives a dictionary: "labels" (batch, n) int32, "scores" (batch, n) and "boxes"
        (batch, n, 4), left, top, right and bottom in the unit of `model`; n is `max_boxes`, or
        fewer if there are no more. What is left over has the label -1 and zeros.

    Raises:
        UsageError: no block is known to give boxes, the report is another model's, or a threshold
            or number makes no sense.
    """
    keras_module = import_keras()
    for name, share in (("score_threshold", score_threshold), ("iou_threshold", iou_threshold)):
        if not 0 <= share <= 1:
            raise UsageError(f"{name} is from 0 to 1, not {share!r}")
    if min(top_k, max_boxes) < 1:
        raise UsageError("top_k and max_boxes are at least 1")
    from onnx2mvit.builder.suppression import NonMaxSuppression

    if report.get("detections") is None:
        raise UsageError(f"{model.name}: its report names no outputs that are boxes and scores")
    how = Detections.from_dict(report["detections"])
    boxes, scores = (_output(model, report, name) for name in (how.boxes, how.scores))
    if not how.format.overlapping:
        iou_threshold = 1.0
    layer = NonMaxSuppression(score_threshold, iou_threshold, top_k, max_boxes, name="detections")
    answers = layer(_read(how, boxes.shape, scores.shape)([boxes, scores]))
    return keras_module.Model(model.inputs, answers, name=f"{model.name}_detector")


def _output(model: keras.Model, report: Mapping[str, Any], name: str) -> Any:
    """What a model gives for this output of the file."""
    named = dict(zip(model.output_names, model.outputs, strict=True))
    ours = {each["name"]: each["keras_name"] for each in report["outputs"]}
    if ours.get(name) not in named:
        raise UsageError(f"{model.name} has no output {ours.get(name, name)!r}, as its report says")
    return named[ours[name]]


def _read(
    how: Detections, boxes: tuple[int | None, ...], scores: tuple[int | None, ...]
) -> keras.Model:
    """Corners and probabilities of what a model gives; a model, so that it has names of its own."""
    import keras

    inputs = [keras.Input(boxes[1:], name="boxes"), keras.Input(scores[1:], name="scores")]
    outputs = [_corners(inputs[0], how), _probabilities(inputs[1], how)]
    return keras.Model(inputs, outputs, name="corners_and_probabilities")


def _corners(boxes: Any, how: Detections) -> Any:
    """(batch, N, 4): left, top, right and bottom."""
    if how.format.corners:
        return boxes
    from keras import ops

    middle, half = boxes[..., :2], boxes[..., 2:] / 2
    return ops.concatenate([middle - half, middle + half], axis=-1)


def _probabilities(scores: Any, how: Detections) -> Any:
    """(batch, N, classes), zero for what is no class and, where a box has one, for all others."""
    from keras import layers, ops

    if how.activation is not None:
        scores = layers.Activation(how.activation)(scores)
    if how.format.background is not None:
        there = np.ones(scores.shape[-1], "float32")
        there[how.format.background] = 0
        scores = scores * there
    if not how.format.overlapping:
        best = ops.max(scores, axis=-1, keepdims=True)
        scores = ops.where(ops.equal(scores, best), scores, 0.0)
    return scores
