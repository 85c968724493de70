"""How far a deployed file is from the network that it was made of."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from onnx2mvit.lifter.detection import Detections
from onnx2mvit.runtimes import Outputs, compare, sqnr_db, worst
from onnx2mvit.runtimes.boxes import agreement
from onnx2mvit.runtimes.tolerances import BFLOAT16, FLOAT16, FLOAT32, INT8_SQNR

MAX_REL_ERROR = {"float32": FLOAT32, "float16": FLOAT16, "bfloat16": BFLOAT16}


@dataclass(frozen=True)
class Fidelity:
    """Answers of a deployed file against those of the original.

    Errors are absolute, and relative to the largest value. `sqnr_db` is the signal to
    quantization noise ratio, None where nothing differs. For classifiers `top1_agreement` is the
    share of images with the same answer, `answers` how many different ones the original gives,
    `median_margin` how far its first class is before its second, and `differing` the margin of
    each image whose answer differs. For masks `mean_iou` is how far they are the same, and
    `answers` how many different classes their pixels have. For detectors `boxes` says how many
    match, as `runtimes.boxes.Agreement` does. `float64` is what float64 says where a file in
    float32 is too far off.
    """

    against: str
    images: str
    count: int
    max_abs_error: float
    max_rel_error: float
    sqnr_db: float | None
    top1_agreement: float | None
    answers: int | None
    median_margin: float | None
    differing: dict[int, float]
    mean_iou: float | None = None
    boxes: dict[str, Any] | None = None
    float64: dict[str, Any] | None = None

    def passes(self, precision: str) -> bool:
        """Whether that is near enough for this precision."""
        if self.float64 is not None:
            return bool(self.float64["verdict"] == "right")
        if precision in MAX_REL_ERROR:
            return self.max_rel_error <= MAX_REL_ERROR[precision]
        return self.sqnr_db is None or self.sqnr_db >= INT8_SQNR

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self)


def fidelity(
    ours: Outputs,
    theirs: Outputs,
    against: str,
    images: str,
    masks: Collection[str] = (),
    detections: tuple[Detections, tuple[int, int]] | None = None,
) -> Fidelity:
    """Compares outputs by name; the worst one counts, and classes are those of the first.

    `masks` are those that are logits of pixels, channels last; `detections` says which are boxes,
    and the height and width of the images.
    """
    pixels = dict.fromkeys(masks, -1)
    compared = list(compare(ours, theirs, answers=True, pixels=pixels).values())
    ious = [each.mean_iou for each in compared]
    classes, boxes = compared[0], None
    if detections is not None:
        how, size = detections
        where, what = ([(ours[name], theirs[name])] for name in (how.boxes, how.scores))
        boxes = agreement(where, what, how, size)[0].as_dict()
    agreeing, margins = classes.agreeing, classes.margins
    return Fidelity(
        against=against,
        images=images,
        count=len(next(iter(theirs.values()))),
        max_abs_error=max(each.max_abs_error for each in compared),
        max_rel_error=worst(compared).max_rel_error,
        sqnr_db=sqnr_db(compared),
        top1_agreement=sum(agreeing) / len(agreeing) if agreeing else None,
        answers=classes.different_answers or None,
        median_margin=float(np.median(margins)) if margins else None,
        differing={index: margins[index] for index, same in enumerate(agreeing) if not same},
        mean_iou=min((iou for iou in ious if iou is not None), default=None),
        boxes=boxes,
    )
