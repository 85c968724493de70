"""Boxes: what is found in an image, and how far two runtimes find the same."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from onnx2mvit.lifter.detection import Detections

Array = np.ndarray[Any, Any]
SCORE = 0.01  # boxes below it are none, as in ml-cvnets
IOU = 0.5  # from which two boxes are one thing, as in PASCAL VOC (doi:10.1007/s11263-009-0275-4)
LOOKED_AT, MOST = 1000, 100  # so many scores of an image, and boxes of it, as COCO counts
DIGITS = 5  # of a probability
SHOWN, MOST_SHOWN = 2, 24  # images, and boxes in each


@dataclass(frozen=True)
class Found:
    """What is found in an image, the surest first.

    Attributes:
        labels: (n,) classes.
        scores: (n,) their probabilities.
        boxes: (n, 4) left, top, right and bottom, as shares of the image.
    """

    labels: Array
    scores: Array
    boxes: Array


@dataclass
class Agreement:
    """How far two runtimes find the same boxes in all images.

    Two boxes match that have the same class and an IoU of at least `iou`; each has one partner
    at most.

    Attributes:
        iou: the intersection as a share of the union.
        score: boxes count whose probability is above it.
        ours: how many boxes we find.
        theirs: how many the other runtime finds.
        matched: how many of either have a partner.
        mean_iou: of those that have, None if none has.
    """

    iou: float = IOU
    score: float = SCORE
    ours: int = 0
    theirs: int = 0
    matched: int = 0
    mean_iou: float | None = None
    _sum: float = field(default=0.0, repr=False)

    def add(self, ours: Found, theirs: Found) -> list[tuple[int, int]]:
        """Takes an image into account; gives the places of those that match, in ours and theirs."""
        pairs = matches(ours, theirs)
        self.ours += len(ours.labels)
        self.theirs += len(theirs.labels)
        self.matched += len(pairs)
        self._sum += sum(shared for _, _, shared in pairs)
        self.mean_iou = self._sum / self.matched if self.matched else None
        return [(mine, right) for mine, right, _ in pairs]

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {key: value for key, value in asdict(self).items() if key != "_sum"}


def found_in(boxes: Array, scores: Array, how: Detections, size: tuple[int, int]) -> Found:
    """What a detector found in an image.

    Of boxes that overlap, the surest of a class stays, where the detector leaves that to its user.

    Args:
        boxes: (N, 4), as the detector gives them.
        scores: (N, classes), as it gives them.
        how: what its answers are.
        size: height and width of the image.
    """
    form = how.format
    with np.errstate(all="ignore"):
        corners = _corners(boxes.astype(np.float64), form.corners)
        if form.pixels:
            corners /= (size[1], size[0]) * 2
        likely = _probabilities(scores.astype(np.float64), how.activation)
    if form.background is not None:
        likely[:, form.background] = 0
    if not form.overlapping:  # one class for each box
        likely = np.where(likely == likely.max(-1, keepdims=True), likely, 0)
    usable = np.isfinite(corners).all(-1, keepdims=True)
    likely = np.where(usable & np.isfinite(likely), likely, 0)
    # Scores that differ by rounding alone keep the order of their boxes.
    order = np.argsort(-np.round(likely, DIGITS), axis=None, kind="stable")[:LOOKED_AT]
    rows, labels = np.unravel_index(order, likely.shape)
    sure = likely[rows, labels] > SCORE
    rows, labels = rows[sure], labels[sure]
    if form.overlapping:
        stay = _suppressed(corners[rows], labels)
        rows, labels = rows[stay], labels[stay]
    rows, labels = rows[:MOST], labels[:MOST]
    return Found(labels, likely[rows, labels], corners[rows])


def _corners(boxes: Array, corners: bool) -> Array:
    if corners:
        return boxes
    middle, half = boxes[:, :2], boxes[:, 2:] / 2
    return np.concatenate([middle - half, middle + half], axis=-1)


def _probabilities(scores: Array, activation: str | None) -> Array:
    if activation == "softmax":
        powers = np.exp(scores - scores.max(-1, keepdims=True))
        return np.asarray(powers / powers.sum(-1, keepdims=True))
    return np.asarray(1 / (1 + np.exp(-scores))) if activation == "sigmoid" else scores.copy()


def _suppressed(boxes: Array, labels: Array) -> list[int]:
    """Which of these boxes, the surest first, stay by greedy non-max suppression."""
    beats = (ious(boxes, boxes) > IOU) & (labels[:, None] == labels)
    stay: list[int] = []
    for place in range(len(boxes)):
        if not beats[place, stay].any():
            stay.append(place)
    return stay


def ious(some: Array, others: Array) -> Array:
    """(n, 4), (m, 4) → (n, m): the intersection of each two boxes as a share of their union."""
    low = np.maximum(some[:, None, :2], others[None, :, :2])
    high = np.minimum(some[:, None, 2:], others[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(-1)
    areas = [np.clip(each[:, 2:] - each[:, :2], 0, None).prod(-1) for each in (some, others)]
    return np.asarray(both / np.maximum(areas[0][:, None] + areas[1] - both, 1e-12))


def matches(ours: Found, theirs: Found) -> list[tuple[int, int, float]]:
    """Pairs of places in ours and theirs that are one thing, and their IoU; the nearest first."""
    shared = ious(ours.boxes, theirs.boxes) * (ours.labels[:, None] == theirs.labels)
    order = np.argsort(-shared, axis=None, kind="stable")
    free = [np.ones(length, bool) for length in shared.shape]
    found = []
    for mine, right in zip(*np.unravel_index(order, shared.shape), strict=True):
        if shared[mine, right] < IOU:
            break
        if free[0][mine] and free[1][right]:
            free[0][mine] = free[1][right] = False
            found.append((int(mine), int(right), float(shared[mine, right])))
    return found


def shown(found: Found, partners: Iterable[int]) -> list[dict[str, Any]]:
    """Some of the boxes for people, as plain values for JSON.

    They are those that are half as sure as the surest, and such as have no partner.
    """
    known = set(partners)
    sure = [at for at, score in enumerate(found.scores) if 2 * score >= found.scores[0]]
    alone = [at for at in range(len(found.scores)) if at not in known]
    return [
        {
            "label": int(found.labels[at]),
            "score": float(found.scores[at]),
            "box": [float(length) for length in found.boxes[at]],
            "matched": at in known,
        }
        for at in sorted({*sure[:MOST_SHOWN], *alone[:MOST_SHOWN]})
    ]


def agreement(
    boxes: Sequence[tuple[Array, Array]],
    scores: Sequence[tuple[Array, Array]],
    how: Detections,
    size: tuple[int, int],
) -> tuple[Agreement, list[dict[str, Any]]]:
    """How far two runtimes find the same, and some of the boxes for people.

    Args:
        boxes: (images, N, 4) as we and as the other runtime give them, for several parts.
        scores: the same of (images, N, classes).
        how: what its answers are.
        size: height and width of the images.

    Returns:
        The agreement, and of the first images a dictionary with the boxes "ours" and "theirs",
        each with label, score, box (corners as shares of the image) and whether it is matched.
    """
    total = Agreement()
    pictures: list[dict[str, Any]] = []
    parts = (zip(*where, *what, strict=True) for where, what in zip(boxes, scores, strict=True))
    for mine, right, ours, theirs in itertools.chain.from_iterable(parts):
        found = found_in(mine, ours, how, size), found_in(right, theirs, how, size)
        pairs = total.add(*found)
        if len(pictures) < SHOWN:
            partners = zip(*pairs, strict=True) if pairs else ((), ())
            lists = [shown(each, known) for each, known in zip(found, partners, strict=True)]
            pictures.append(dict(zip(("ours", "theirs"), lists, strict=True)))
    return total, pictures
