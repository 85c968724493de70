"""What float64 says of a file in float32 that is farther from its original than is usual."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.base.quiet import one_line
from onnx2mvit.builder import float64_allowed, in_float64
from onnx2mvit.deployment._original import Original
from onnx2mvit.runtimes import InBatches, KerasRunner, Outputs, compare
from onnx2mvit.runtimes.float64_runner import widened
from onnx2mvit.runtimes.runner import Axes, Runner, answers_to, batch_size, rows
from onnx2mvit.runtimes.tolerances import FLOAT32
from onnx2mvit.verifier import Answers, Judgement, judge_file

if TYPE_CHECKING:
    import keras

Array = np.ndarray[Any, Any]


def judged(
    model: keras.Model,
    original: Original,
    inputs: Mapping[str, Array],
    ours: Outputs,
    theirs: Outputs,
    axes: Axes,
) -> Judgement:
    """Judges a file by the inputs that it answers otherwise than the original does.

    Args:
        model: that it was made of.
        original: what it is compared with.
        inputs: by name, all that it was run on.
        ours: its answers, by the names of its outputs.
        theirs: those of the original, by the same names.
        axes: which axis of inputs and outputs holds the batch.
    """
    one_by_one = partial(InBatches, batch=model.inputs[0].shape[0] or 1, axes=axes)

    def answers(runner: Runner, feed: Mapping[str, Array]) -> Outputs:
        return dict(zip(ours, one_by_one(runner)(feed).values(), strict=True))

    count = batch_size(inputs, axes) or 1
    found = (range(index, index + 1) for index in range(count))
    missed = np.array([one.start for one in found if _differ(ours, theirs, axes, one, count)])
    feed = rows(inputs, axes, missed)
    try:
        keras32 = answers(KerasRunner(model), feed)
        with float64_allowed():
            wide = widened(feed)
            keras64 = answers(KerasRunner(in_float64(model)), wide)
            right = answers(original.float64(), wide)
    except Exception as error:  # of either runtime: then nothing is shown
        return Judgement("unknown", f"no float64 answer can be had: {one_line(error)}")
    file, onnxruntime = (rows(each, axes, missed) for each in (ours, theirs))
    return judge_file(Answers(file, onnxruntime, keras32, keras64, right))


def _differ(ours: Outputs, theirs: Outputs, axes: Axes, images: range, total: int) -> bool:
    """Whether some images are answered otherwise than rounding is wont to explain."""
    some, others = (answers_to(each, axes, images, total) for each in (ours, theirs))
    return any(not each.within(FLOAT32) for each in compare(some, others).values())
