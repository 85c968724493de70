"""What float64 is asked, and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from onnx2mvit.runtimes import Outputs
from onnx2mvit.verifier.checkpoints import Checkpoint
from onnx2mvit.verifier.reference_outputs import ReferenceTensors

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Distance:
    """How far both runtimes are from the float64 answer, as a share of its largest value.

    A block, or an output, is given the tensors that onnxruntime gave it.
    """

    name: str
    onnxruntime: float
    keras: float


@dataclass
class Judgement:
    """What float64 says: `verdict` is "right", "wrong" or "unknown", and `words` say why.

    `settled` has, for what was answered although the file computes with NaN, our answers and
    onnxruntime's as far as they can be compared, by the first of the inputs; not in the report.
    """

    verdict: str
    words: str
    distances: list[Distance] = field(default_factory=list)
    settled: dict[int, dict[str, tuple[Array, Array]]] = field(default_factory=dict, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        distances = [asdict(each) for each in self.distances]
        return {"verdict": self.verdict, "words": self.words, "distances": distances}


@dataclass(frozen=True)
class Doubt:
    """Inputs on which the plain comparison missed, in the file's layout, as many as it takes.

    They are those from `start` on; `beside` are others that are answered in one batch with
    them, and must not change them; `theirs` and `ours` what onnxruntime and Keras answered in
    float32, `checkpoints` the places inside where they were too far apart, and `tensors`
    onnxruntime's tensors there.
    """

    start: int
    inputs: dict[str, Array]
    beside: dict[str, Array]
    theirs: Outputs
    ours: Outputs
    tensors: ReferenceTensors
    checkpoints: Sequence[Checkpoint]
