"""Whether a deployed file is right although it is farther from its original than is usual.

A file for phones has no form in float64. But where onnxruntime and Keras are both answered by the
float64 answer, what rounding does to the network is known, and a third runtime, which adds up in
an order of its own, may be off by as much; one that is off by more is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

from onnx2mvit.runtimes import Comparison, Outputs
from onnx2mvit.runtimes.tolerances import BY_CHANCE, FLOAT32, FLOAT64
from onnx2mvit.verifier.judgement import Distance, Judgement


@dataclass(frozen=True)
class FileDistance(Distance):
    """That of the deployed file as well."""

    file: float


@dataclass(frozen=True)
class Answers:
    """Outputs by name, all to the same inputs, in one layout.

    Attributes:
        file: of the deployed file.
        original: of onnxruntime on the file that the model was converted from, in float32.
        keras: of the Keras model in float32.
        keras64: of the Keras model in float64.
        right: of the file in float64; of the Keras model where there is no file.
    """

    file: Outputs
    original: Outputs
    keras: Outputs
    keras64: Outputs
    right: Outputs


def judge_file(answers: Answers) -> Judgement:
    """Whether a deployed file is as near to the float64 answer as the other runtimes are.

    Keras counts as one of them only where it is right in float64: else what it is off by is no
    rounding. Of a mask or an index one place may differ.
    """
    right, distances = answers.right, []
    for name, answer in right.items():
        runtimes = (answers.original, answers.keras, answers.file)
        theirs, keras, file = (_error(name, each, right) for each in runtimes)
        distances.append(FileDistance(name, theirs, keras, file))
        known = Comparison().add(answers.keras64[name], answer).within(FLOAT64)
        noise = max(theirs, keras if known else 0.0)
        one = 1 / answer.size if answer.dtype.kind in "biu" and answer.size else FLOAT32
        if file > max(one, BY_CHANCE * noise):
            return Judgement("wrong", _words(distances[-1]), list(distances))
    far = max(distances, key=lambda each: each.file)
    return Judgement("right", f"{_words(far)}: it is rounding", list(distances))


def _error(name: str, answers: Outputs, right: Outputs) -> float:
    return Comparison().add(answers[name], right[name]).max_rel_error


def _words(far: FileDistance) -> str:
    return (
        f"{far.name}: the file is {far.file:.1e} of the largest value from the float64 answer, "
        f"onnxruntime {far.onnxruntime:.1e}, Keras {far.keras:.1e}"
    )
