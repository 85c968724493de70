"""What float64 says of a file in float32 that is farther from its original than is usual."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.base.quiet import one_line
from onnx2mvit.builder import float64_allowed, in_float64
from onnx2mvit.deployment.interface import Interface
from onnx2mvit.deployment.original import Original
from onnx2mvit.runtimes import KerasRunner, Outputs, compare
from onnx2mvit.runtimes.float64_runner import widened
from onnx2mvit.runtimes.runner import Runner, answers_to, batch_size, joined, rows
from onnx2mvit.runtimes.tolerances import FLOAT32
from onnx2mvit.verifier import Answers, Judgement, judge_file

if TYPE_CHECKING:
    import keras

Array = np.ndarray[Any, Any]


def judged(
    model: keras.Model,
    original: Original,
    interface: Interface,
    inputs: Mapping[str, Array],
    ours: Outputs,
    theirs: Outputs,
) -> Judgement:
    """Judges a file by the inputs that it answers otherwise than the original does.

    Args:
        model: that it was made of.
        original: what it is compared with.
        interface: of the file.
        inputs: by name, all that it was run on.
        ours: its answers, as the interface runs it.
        theirs: those of the original, likewise.
    """
    axes, step = interface.axes, interface.batch or 1
    count = batch_size(inputs, axes) or 1

    def answers(runner: Runner, feed: Mapping[str, Array]) -> Outputs:
        return interface.run(interface.in_order(runner), feed)

    def of(answered: Outputs, images: Sequence[range]) -> Outputs:
        return joined([answers_to(answered, axes, some, count) for some in images], axes)

    # What a file answers at once may hang together.
    parts = [range(start, min(start + step, count)) for start in range(0, count, step)]
    missed = [some for some in parts if _differ(of(ours, [some]), of(theirs, [some]))]
    feed = joined([rows(inputs, axes, np.array(some)) for some in missed], axes)
    try:
        keras32 = answers(KerasRunner(model), feed)
        with float64_allowed():
            wide = widened(feed)
            keras64 = answers(KerasRunner(in_float64(model)), wide)
            right = answers(original.float64(), wide)
    except Exception as error:  # of either runtime: then nothing is shown
        return Judgement("unknown", f"no float64 answer can be had: {one_line(error)}")
    file, onnxruntime = (of(each, missed) for each in (ours, theirs))
    return judge_file(Answers(file, onnxruntime, keras32, keras64, right))


def _differ(ours: Outputs, theirs: Outputs) -> bool:
    """Whether images are answered otherwise than rounding is wont to explain."""
    return any(not each.within(FLOAT32) for each in compare(ours, theirs).values())
