"""Float64 decides where float32 leaves a doubt: is the model wrong, or is it only rounding?

A network that subtracts what is nearly alike, or answers nearly zero, is answered differently by
any two runtimes, and no tolerance tells that from a fault. So where the plain comparison misses,
two float64 answers are held against each other, which share no line of code:

* the ONNX file as it is, in ONNX's own reference implementation (`Float64Runner`): neither our
  reader nor our patterns have touched it, so a wrong rewrite cannot be wrong on both sides;
* the Keras model with the same weights, every block of it on the tensors of the first.

Right is what agrees to `FLOAT64` in every block and in the answers. A block that is wrong by 1e-4
misses that by far, however much the network around it amplifies, since each block begins from the
right tensors. Where a block's answer is zero but for rounding, it may be off by what changes if the
tensors before it are rounded to float32: more is not in the file.

Where the file computes with what is no number, that alone is right or wrong which is settled
(`verifier.near`).

The float32 answers are held against that too. What differs by more than any rounding explains is
no right answer, even of a right model: float32 overflowed there, or flushed to zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.base.quiet import one_line
from onnx2mvit.builder import float64_allowed, in_float64
from onnx2mvit.ir.layout import Order
from onnx2mvit.ir.network import Network
from onnx2mvit.runtimes import (
    Comparison,
    Float64Runner,
    InBatches,
    Outputs,
    as_the_file,
)
from onnx2mvit.runtimes.float64_runner import widened
from onnx2mvit.runtimes.layouts import file_outputs, keras_inputs, to_onnx
from onnx2mvit.runtimes.runner import answers_to, batch_size, joined
from onnx2mvit.runtimes.tolerances import FLOAT32, OF_PRECISION
from onnx2mvit.verifier.checkpoints import CheckedModel, Checkpoint
from onnx2mvit.verifier.judgement import Distance, Doubt, Judgement
from onnx2mvit.verifier.near import Near, far_share, has_nan, is_right, settled
from onnx2mvit.verifier.reference_outputs import ReferenceTensors
from onnx2mvit.verifier.sub_model import SubModel, sub_model_before

if TYPE_CHECKING:
    import keras

Array = np.ndarray[Any, Any]
# So much more than one rounding of what it reads may Keras lose in float32 in a layer that adds up
# many numbers; what flushes tiny numbers to zero, or overflows, loses a thousand times that.
MANY_ROUNDINGS = 1e4
HELD = 48 * 2**20  # bytes of inner tensors at a time, were they in float32
INT64 = np.iinfo(np.int64)
TURNS_ROUND = (
    "integers grow beyond what 64 bits hold, where onnxruntime's stay at the largest and those of "
    "Keras turn round: the model is right for smaller ones alone"
)


def judge(path: Path, network: Network, model: keras.Model, doubts: Sequence[Doubt]) -> Judgement:
    """Whether a model is right although the plain comparison missed on some images."""
    try:
        with float64_allowed():
            both = _Both(path, network, model)
            for doubt in doubts:
                fault = both.fault(doubt)
                doubt.tensors.let_go()
                if fault is not None:
                    return Judgement("wrong", f"Keras differs from the float64 answer: {fault}")
            distances = []
            for doubt in doubts:
                distances += both.distances(doubt)
                doubt.tensors.let_go()
    except Exception as error:  # of either runtime: then nothing is shown
        return Judgement("unknown", f"no float64 answer can be had: {one_line(error)}")
    words = _words(distances) + (f"; {TURNS_ROUND}" if both.turns_round else "")
    return Judgement("right", words, distances, both.settled)


def _words(distances: Sequence[Distance]) -> str:
    """Which runtime is off, where they are farthest apart."""
    far = max(distances, key=lambda each: max(each.onnxruntime, each.keras))
    said = (
        f"{far.name}: onnxruntime is {far.onnxruntime:.1e} of the largest value from the float64 "
        f"answer, Keras {far.keras:.1e}"
    )
    if far.onnxruntime > FLOAT32:
        return f"{said}: the network is ill-conditioned here, and the model is right"
    return f"{said}: the model is right"


class _Both:
    """The file and the model, both in float64."""

    def __init__(self, path: Path, network: Network, model: keras.Model) -> None:
        self.network, self.float32 = network, model
        self.borders = {block.output for top in network.blocks for block in top.walk()}
        inner = [value.name for value in self.borders]
        self.file = Float64Runner(path, inner, network.graph.source.outputs)
        self.tolerance = OF_PRECISION[network.graph.source.precision]
        self.settled: dict[int, dict[str, tuple[Array, Array]]] = {}
        self.turns_round = False

    @cached_property
    def model(self) -> keras.Model:
        """The whole model; a wrong one is found out without it, as a rule."""
        return in_float64(self.float32)

    def fault(self, doubt: Doubt) -> str | None:
        """Where the model is wrong on these images, None where it is right."""
        tensors = ReferenceTensors(self.file, self.network, doubt.inputs, HELD)
        return (
            self._wrong_part(doubt)
            or self._wrong_block(doubt, tensors)
            or self._wrong_output(doubt, tensors)
        )

    def _wrong_part(self, doubt: Doubt) -> str | None:
        """A place where float32 missed that is wrong by itself, on onnxruntime's tensors."""
        for part, order, near in self._parts(doubt):
            inputs = [array.astype(np.float64) for array in part.inputs]
            wide = replace(part, model=in_float64(part.model), inputs=inputs)
            answer, theirs = near.right, to_onnx(part.expected, order)
            ours, float32 = to_onnx(wide.answer, order), to_onnx(part.answer, order)
            if has_nan([*part.inputs, theirs, answer]):
                _, answer, ours, float32 = settled(theirs, answer, self.tolerance, ours, float32)
            ours, float32 = near.numbers(ours), near.numbers(float32)
            if not is_right(ours, answer, near.rounding):
                return _where(part.layer.path, ours, answer)
            if self._lost(float32, answer, near):
                return _lost(part.layer.path, float32, answer)
        return None

    def _wrong_block(self, doubt: Doubt, tensors: ReferenceTensors) -> str | None:
        """A block of the whole network that is wrong, each on the tensors of the file."""
        import keras

        wrong: list[str] = []

        def look(checkpoint: Checkpoint, array: Array) -> None:
            value, block = checkpoint.value, checkpoint.block
            theirs = tensors(value)
            if theirs is None or wrong or value not in self.borders:
                return
            place = block.path if block is not None else "the input"
            float32 = partial(doubt.tensors, value)
            fault = self._fault_at(place, value.name, array, theirs, tensors, float32)
            if fault is not None:
                wrong.append(fault)

        orders = {value: self.network.order(value) for value in self.network.graph.inputs}
        checked = CheckedModel(self.model, self.network.blocks, orders, self.network.graph.outputs)
        inputs = keras_inputs(self.network, widened(doubt.inputs))
        answers = checked.run(list(inputs.values()), tensors, look)
        if wrong:
            return wrong[0]
        ours = [keras.ops.convert_to_numpy(answer) for answer in answers]
        return self._wrong_end(doubt, tensors, file_outputs(self.network, ours))

    def _wrong_end(self, doubt: Doubt, tensors: ReferenceTensors, ours: Outputs) -> str | None:
        """An output that is wrong behind the last block, on the tensors of the file.

        What stands there may be no layer, and is seen nowhere else but through all that is before.
        """
        faults = (
            self._fault_at(
                f"output {name}", name, ours[name], right, tensors, partial(doubt.theirs.get, name)
            )
            for name, right in self.answer(doubt).items()
        )
        return next((fault for fault in faults if fault is not None), None)

    def _fault_at(
        self,
        place: str,
        name: str,
        ours: Array,
        right: Array,
        tensors: ReferenceTensors,
        float32: Callable[[], Array | None],
    ) -> str | None:
        """What is wrong with a tensor that was computed from the file's own; None if nothing is.

        `float32` gives what onnxruntime makes of it, where that is known; it is asked where the
        file computes with what is no number.
        """
        if not is_right(ours, right) and (tensors.met_nan or has_nan([right])):
            theirs = float32()
            if theirs is not None:
                _, right, ours = settled(theirs, right, self.tolerance, ours)
        if not is_right(ours, right):
            near = Near(self.file, tensors.at_hand, name, right)
            if not is_right(near.numbers(ours), right, near.rounding):
                return _where(place, ours, right)
        return None

    def _wrong_output(self, doubt: Doubt, tensors: ReferenceTensors) -> str | None:
        """An output that is wrong where several images are answered at once, if there is one.

        The blocks are right by now; what adds up over all of them may be as far off as
        onnxruntime is.
        """
        axes = self.network.batch_axes
        many = [doubt.inputs] if self.network.batch else [doubt.inputs, doubt.beside]
        answers = as_the_file(self.model, self.network)(widened(joined(many, axes)))
        count = batch_size(doubt.inputs, axes) or 1
        ours = answers_to(answers, axes, range(count), count * len(many))
        right = self.answer(doubt)
        nan = tensors.met_nan or has_nan([*doubt.theirs.values(), *right.values()])
        if nan:
            self.settled[doubt.start] = {}
        for name, answer in ours.items():
            theirs, should, float32 = doubt.theirs[name], right[name], doubt.ours[name]
            if nan:
                theirs, should, answer, float32 = settled(
                    theirs, should, self.tolerance, answer, float32
                )
                self.settled[doubt.start][name] = float32, theirs
            whole = Near(self.file, doubt.inputs, name, should)
            answer, float32 = whole.numbers(answer), whole.numbers(float32)
            allowed = whole.allowed(theirs)
            if not is_right(answer, should, allowed):
                return _where(f"output {name}", answer, should)
            near = Near(self.file, tensors.at_hand, name, should)
            if self._lost(float32, should, near, allowed):
                return _lost(f"output {name}", float32, should)
        return None

    def answer(self, doubt: Doubt) -> Outputs:
        """What the file answers in float64."""
        network = self.network
        return InBatches(self.file, network.file_batch, network.batch_axes)(doubt.inputs)

    def _lost(self, ours: Array, answer: Array, near: Near, noise: Array | float = 0.0) -> bool:
        """Whether an answer in float32 is farther off than any rounding explains.

        `noise` is how far others are off, where they are farther off than rounding explains.
        """
        found = Comparison().add(ours, answer)
        if found.within(self.tolerance):
            return False
        if ours.shape != answer.shape:
            return True
        with np.errstate(over="ignore"):
            rounding = MANY_ROUNDINGS * np.maximum(near.rounding, noise)
        explained = np.maximum(rounding, self.tolerance * found.largest)
        if found.discrete and (found.max_abs_error <= explained).all():
            return False
        return far_share(ours, answer, explained) > near.jumps(explained, self.tolerance)

    def distances(self, doubt: Doubt) -> list[Distance]:
        """How far both runtimes are off in the outputs, and where they were too far apart."""
        found = [
            self._distance(name, doubt.theirs[name], doubt.ours[name], answer)
            for name, answer in self.answer(doubt).items()
        ]
        for part, order, near in self._parts(doubt):
            theirs, ours = to_onnx(part.expected, order), to_onnx(part.answer, order)
            found.append(self._distance(part.layer.path, theirs, ours, near.right))
        return found

    def _distance(self, name: str, theirs: Array, ours: Array, answer: Array) -> Distance:
        if has_nan([theirs, ours, answer]):
            theirs, answer, ours = settled(theirs, answer, self.tolerance, ours)
        if theirs.dtype == ours.dtype == np.int64 and theirs.shape == ours.shape:
            ends = (theirs == INT64.max) | (theirs == INT64.min)
            self.turns_round |= bool((ends & (ours != theirs)).any())
        pair = (Comparison().add(each, answer).max_rel_error for each in (theirs, ours))
        return Distance(name, *pair)

    def _parts(self, doubt: Doubt) -> Iterator[tuple[SubModel, Order, Near]]:
        """What ends where float32 missed, the order of its axes in Keras, and what is right."""
        for checkpoint in doubt.checkpoints:
            part = sub_model_before(checkpoint, self.network.blocks, doubt.tensors)
            if part is None:
                continue
            read = {value.name: doubt.tensors(value) for value in part.values}
            known = {name: array for name, array in read.items() if array is not None}
            before = doubt.inputs | known
            answer = self.file.near(before, checkpoint.value.name)
            near = Near(self.file, before, checkpoint.value.name, answer)
            yield part, checkpoint.model.orders[checkpoint.value], near


def _where(place: str, ours: Array, theirs: Array) -> str:
    return f"{place} by {Comparison().add(ours, theirs).max_rel_error:.1e} of its largest"


def _lost(place: str, ours: Array, theirs: Array) -> str:
    return f"{_where(place, ours, theirs)} in float32, which is more than rounding explains"
