"""A detector's answers as boxes: the suppression that its file was cut before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.base.backend import import_keras
from onnx2mvit.errors import UsageError

if TYPE_CHECKING:
    import keras


def detector(
    model: keras.Model,
    *,
    score_threshold: float = 0.01,
    iou_threshold: float = 0.5,
    top_k: int = 400,
    max_boxes: int = 200,
    background: bool = True,
) -> keras.Model:
    """A model that answers with the boxes that are left of a detector's after suppression.

    Exported with its suppression, a detector is cut before it (`--outputs`), where it has boxes
    for every place. The defaults are ml-cvnets'. The layers are those of `model`, and one more,
    for which a saved model needs this package.

    Args:
        model: gives boxes (batch, N, 4), by their corners, and scores (batch, N, classes).
        score_threshold: boxes stay whose score is above it.
        iou_threshold: the intersection as a share of the union, above which one of two boxes of
            a class goes, the one with the lower score.
        top_k: how many boxes of each class are looked at, the best ones.
        max_boxes: how many boxes of an image stay at most.
        background: whether the first class is none.

    Returns:
        A model that gives a dictionary: "labels" (batch, n) int32, "scores" (batch, n) and "boxes"
        (batch, n, 4), the best first; n is `max_boxes`, or fewer if there are no more. What is
        left over has the label -1 and zeros.

    Raises:
        UsageError: it gives no boxes and scores, or a threshold or number makes no sense.
    """
    keras_module = import_keras()
    for name, share in (("score_threshold", score_threshold), ("iou_threshold", iou_threshold)):
        if not 0 <= share <= 1:
            raise UsageError(f"{name} is from 0 to 1, not {share!r}")
    if min(top_k, max_boxes) < 1:
        raise UsageError("top_k and max_boxes are at least 1")
    from onnx2mvit.builder.suppression import NonMaxSuppression

    layer = NonMaxSuppression(
        score_threshold, iou_threshold, top_k, max_boxes, background, name="detections"
    )
    answers = layer(list(_boxes_and_scores(model)))
    return keras_module.Model(model.inputs, answers, name=f"{model.name}_detector")


def _boxes_and_scores(model: keras.Model) -> tuple[Any, Any]:
    """Which output is which: only one has four numbers a box, or else is called boxes."""
    named = zip(model.output_names, model.outputs, strict=True)
    outputs = [(name, each) for name, each in named if len(each.shape) == 3]
    found = [(name, each) for name, each in outputs if each.shape[-1] == 4]
    boxes = [each for name, each in found if len(found) == 1 or "box" in name]
    scores = [each for _, each in outputs if all(each is not box for box in boxes)]
    if len(boxes) != 1 or len(scores) != 1 or boxes[0].shape[1] != scores[0].shape[1]:
        shapes = ", ".join(str(each.shape) for each in model.outputs)
        raise UsageError(f"{model.name} gives no boxes (batch, N, 4) and scores, but {shapes}")
    return boxes[0], scores[0]
