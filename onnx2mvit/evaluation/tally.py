"""From the answers to batches to what is told of a network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from onnx2mvit.evaluation.dataset import Batch

Array = np.ndarray[Any, Any]
TOP = 5
MOST_NAMED = 1000  # images, of each kind that is named


@dataclass(frozen=True)
class Record:
    """What is kept of a batch: the answers to its images, those that are damaged aside.

    Attributes:
        start: the number of its first image.
        names: of the images that were answered.
        classes: their right ones.
        damaged: the others and why, as pairs.
        top: of each network, for each image, the first few classes.
        seconds: that each network took.
        wall: that went by since the batch before was done.
    """

    start: int
    names: Sequence[str]
    classes: Sequence[int]
    damaged: Sequence[Sequence[str]]
    top: Sequence[Sequence[Sequence[int]]]
    seconds: Sequence[float]
    wall: float = 0.0

    def timed(self, wall: float) -> Record:
        """The same, with what went by."""
        return replace(self, wall=wall)

    def as_json(self) -> str:
        """In one line."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Record:
        """What `as_json` has written."""
        return Record(**json.loads(text))


def best(scores: Array) -> list[list[int]]:
    """The classes of the highest scores (images, classes); the first of equal ones goes before."""
    order = np.argsort(-scores.astype(np.float64), axis=1, kind="stable")[:, :TOP]
    found: list[list[int]] = order.tolist()
    return found


def record(
    batch: Batch,
    kept: Sequence[int],
    damaged: Sequence[Sequence[str]],
    scores: Sequence[Array],
    seconds: Sequence[float],
) -> Record:
    """What is kept of the answers to a batch, those of `kept` of its images."""
    names, classes = [batch.names[at] for at in kept], [batch.classes[at] for at in kept]
    top = list(map(best, scores)) if names else [[] for _ in seconds]
    return Record(batch.start, names, classes, damaged, top, seconds)


@dataclass
class Count:
    """How often a network was right, how often it agreed with the reference, how long it took."""

    top1: int = 0
    top5: int = 0
    agreeing: int = 0
    seconds: float = 0.0


@dataclass
class Tally:
    """What many records say together; the most that it holds does not depend on how many.

    Attributes:
        networks: how many there are.
        reference: the number of the one that others are to agree with.
        images: that were answered.
        wall: seconds that went by.
        differing, wrong: how many images the networks answer differently, or none of them right.
        shown_differing, shown_wrong: the first of these.
        damaged: how many images could not be read, and the first of these.
    """

    networks: int
    reference: int
    images: int = 0
    wall: float = 0.0
    counts: list[Count] = field(default_factory=list)
    differing: int = 0
    shown_differing: list[dict[str, Any]] = field(default_factory=list)
    wrong: int = 0
    shown_wrong: list[dict[str, Any]] = field(default_factory=list)
    damaged: int = 0
    shown_damaged: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.counts = [Count() for _ in range(self.networks)]

    def add(self, record: Record) -> None:
        """Counts one more batch."""
        self.images += len(record.names)
        self.wall += record.wall
        for count, top, seconds in zip(self.counts, record.top, record.seconds, strict=True):
            count.seconds += seconds
            for right, answers, theirs in zip(
                record.classes, top, record.top[self.reference], strict=True
            ):
                count.top1 += answers[0] == right
                count.top5 += right in answers
                count.agreeing += answers[0] == theirs[0]
        for at, (name, right) in enumerate(zip(record.names, record.classes, strict=True)):
            answers = [top[at][0] for top in record.top]
            entry = {"image": name, "class": right, "answers": answers}
            if len(set(answers)) > 1:
                self.differing += 1
                self.shown_differing += [entry][: MOST_NAMED - len(self.shown_differing)]
            elif answers[0] != right:
                self.wrong += 1
                self.shown_wrong += [entry][: MOST_NAMED - len(self.shown_wrong)]
        self.damaged += len(record.damaged)
        named = [{"image": name, "why": why} for name, why in record.damaged]
        self.shown_damaged += named[: MOST_NAMED - len(self.shown_damaged)]
