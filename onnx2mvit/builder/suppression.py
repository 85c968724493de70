"""Non-max suppression as a layer; importing this imports Keras."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("onnx2mvit")
class NonMaxSuppression(keras.layers.Layer):  # type: ignore[misc]
    """Of boxes that overlap the best, for each class by itself.

    It is greedy, as ONNX's NonMaxSuppression and torchvision's `batched_nms`: the box with the
    highest score stays, and those go that it overlaps by more than `iou_threshold`; and so on.

    Args:
        score_threshold: boxes stay whose score is above it.
        iou_threshold: the intersection as a share of the union, above which one of two boxes goes.
        top_k: how many boxes of each class are looked at, the best ones.
        max_boxes: how many boxes an image has at most.
    """

    def __init__(
        self,
        score_threshold: float = 0.01,
        iou_threshold: float = 0.5,
        top_k: int = 400,
        max_boxes: int = 200,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.score_threshold, self.iou_threshold = score_threshold, iou_threshold
        self.top_k, self.max_boxes = top_k, max_boxes

    def call(self, inputs: list[Any]) -> dict[str, Any]:
        """Boxes (B, N, 4) by their corners, scores (B, N, classes) → the best, the best first.

        Returns:
            labels (B, n) int32, scores (B, n) and boxes (B, n, 4), where n is `max_boxes` or as
            many as there are; places that are left over have the label -1 and zeros.
        """
        boxes, scores = inputs
        each = ops.transpose(scores, (0, 2, 1))
        _, classes, count = each.shape
        k = min(self.top_k, count)
        best, index = ops.top_k(each, k)
        boxes = ops.repeat(boxes[:, None], classes, axis=1)
        boxes = ops.take_along_axis(boxes, ops.repeat(index[..., None], 4, axis=-1), axis=2)
        valid = best > self.score_threshold
        before = ops.tril(ops.ones((k, k), "bool"), -1)
        beaten = ops.logical_and(overlap(boxes) > self.iou_threshold, before)

        def stay(kept: Any, _: Any) -> tuple[Any, Any]:
            by_kept = ops.any(ops.logical_and(beaten, kept[..., None, :]), axis=-1)
            now = ops.logical_and(valid, ops.logical_not(by_kept))
            return now, ops.any(ops.not_equal(now, kept))

        # The best box is right at once, and with each step the one after it.
        kept, _ = ops.while_loop(lambda _, changed: changed, stay, (valid, ops.any(valid)))
        flat = ops.reshape(ops.where(kept, best, 0.0), (-1, classes * k))
        found, place = ops.top_k(flat, min(self.max_boxes, classes * k))
        there = found > 0
        boxes = ops.reshape(boxes, (-1, classes * k, 4))
        boxes = ops.take_along_axis(boxes, ops.repeat(place[..., None], 4, axis=-1), axis=1)
        labels = ops.cast(place // k, "int32")
        return {
            "labels": ops.where(there, labels, -1),
            "scores": found,
            "boxes": ops.where(there[..., None], boxes, 0.0),
        }

    def compute_output_shape(self, shapes: list[tuple[int | None, ...]]) -> dict[str, Any]:
        """Those of labels, scores and boxes."""
        _, (batch, count, classes) = shapes
        assert count is not None
        assert classes is not None
        n = min(self.max_boxes, classes * min(self.top_k, count))
        return {"labels": (batch, n), "scores": (batch, n), "boxes": (batch, n, 4)}

    def compute_output_spec(self, inputs: list[Any]) -> dict[str, Any]:
        """Shapes, and labels as numbers of classes."""
        shapes = self.compute_output_shape([each.shape for each in inputs])
        types = {"labels": "int32", "scores": inputs[1].dtype, "boxes": inputs[0].dtype}
        return {name: keras.KerasTensor(shapes[name], types[name]) for name in shapes}

    def get_config(self) -> dict[str, Any]:
        """The arguments that it was made with."""
        names = ("score_threshold", "iou_threshold", "top_k", "max_boxes")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def overlap(boxes: Any) -> Any:
    """(…, n, 4) → (…, n, n): intersection over union of each two boxes."""
    low, high = boxes[..., :2], boxes[..., 2:]
    area = ops.prod(ops.relu(high - low), axis=-1)
    low = ops.maximum(low[..., None, :], low[..., None, :, :])
    high = ops.minimum(high[..., None, :], high[..., None, :, :])
    both = ops.prod(ops.relu(high - low), axis=-1)
    union = area[..., None] + area[..., None, :] - both
    return both / ops.maximum(union, 1e-12)
