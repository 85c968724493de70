"""Sub-models: what lies between checkpoints, as a model of its own on onnxruntime's tensors.

Where a model differs, its first divergence is the first sub-model that is wrong by itself, so
that one fault does not accuse all that follows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from onnx2mvit.builder.calls import Call
from onnx2mvit.ir.block import Block
from onnx2mvit.ir.graph import Value
from onnx2mvit.runtimes import Comparison
from onnx2mvit.runtimes.layouts import to_keras
from onnx2mvit.verifier.checkpoints import Array, Checkpoint, Known, by_id

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, eq=False)
class SubModel:
    """A part of the model with onnxruntime's tensors before and after it, in Keras's layout.

    `block` is the block at the top in which it lies, `layer` the deepest one that ends it;
    `values` are those of the graph that `inputs` are of.
    """

    block: Block
    layer: Block
    model: keras.Model
    values: list[Value]
    inputs: list[Array]
    expected: Array

    @cached_property
    def answer(self) -> Array:
        """What Keras makes of the inputs, pixels or tokens in a row where the file has them so."""
        import keras

        pairs = zip(self.inputs, self.model.inputs, strict=True)
        inputs = [
            array if array.ndim == len(tensor.shape) else array.reshape(-1, *tensor.shape[1:])
            for array, tensor in pairs
        ]
        made: Array = keras.ops.convert_to_numpy(self.model(inputs, training=False))
        in_a_row = made.ndim > self.expected.ndim and made.size == self.expected.size
        return made.reshape(self.expected.shape) if in_a_row else made

    @cached_property
    def comparison(self) -> Comparison:
        """Keras's answer against onnxruntime's."""
        return Comparison().add(self.answer, self.expected)

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {
            "block": self.block.name,
            "block_kind": self.block.kind,
            "layer": self.layer.path,
            "kind": self.layer.kind,
            "max_rel_error": self.comparison.max_rel_error,
            "shape": list(self.answer.shape),
            "expected_shape": list(self.expected.shape),
        }


def sub_model_before(
    checkpoint: Checkpoint, blocks: Sequence[Block], known: Known
) -> SubModel | None:
    """What ends at a checkpoint and begins at those before it, in the model that it is in.

    None where a tensor before it is not known.
    """
    within = checkpoint.model
    starts: dict[int, Any] = {}
    values: list[Value | None] = []
    needed: set[Call] = set()

    def before(tensor: Any) -> None:
        maker = within.calls.maker(tensor)
        if maker is None or maker in needed:
            return
        needed.add(maker)
        for source in maker.inputs:
            call = within.calls.maker(source)
            if id(source) in starts:
                continue
            if call is None or call in within.made:
                starts[id(source)] = source
                known_as = within.inputs.get(id(source)) if call is None else None
                values.append(known_as if call is None else within.made[call].value)
            else:
                before(source)

    before(checkpoint.tensor)
    expected = known(checkpoint.value)
    read = {value: known(value) for value in values if value is not None}
    arrays = [array for array in read.values() if array is not None]
    if expected is None or checkpoint.block is None or len(arrays) < len(values):
        return None
    inputs = [
        to_keras(array, within.orders[value]) for value, array in zip(read, arrays, strict=True)
    ]
    return SubModel(
        block=next(top for top in blocks if checkpoint.block in top.walk()),
        layer=checkpoint.block,
        model=_model_of(
            [call for call in within.calls.calls if call in needed], starts, checkpoint.tensor
        ),
        values=list(read),
        inputs=inputs,
        expected=to_keras(expected, within.orders[checkpoint.value]),
    )


def _model_of(calls: Sequence[Call], starts: Mapping[int, Any], end: Any) -> keras.Model:
    """These calls as a model from some symbolic tensors, by their ids, to another.

    They are made anew: of tensors of which some are inputs and some are not, Keras makes a model
    that breaks the one around it.
    """
    import keras

    inputs = {key: keras.Input(batch_shape=t.shape, dtype=t.dtype) for key, t in starts.items()}
    tensors = dict(inputs)
    for call in calls:
        args, kwargs = call.arguments(tensors)
        tensors |= by_id(call.outputs, call.layer(*args, **kwargs))
    return keras.Model(list(inputs.values()), tensors[id(end)])


def first_divergence(
    errors: Mapping[Checkpoint, Comparison],
    tolerance: float,
    sub_model: Callable[[Checkpoint], SubModel | None],
) -> SubModel | None:
    """The first sub-model that is wrong by itself, inner ones before those around them.

    `errors` has what was found at each checkpoint, in the order of the network. None where no
    sub-model is wrong: then small differences add up.
    """
    for checkpoint, comparison in errors.items():
        if not comparison.within(tolerance):
            found = sub_model(checkpoint)
            if found is not None and not found.comparison.within(tolerance):
                return found
    return None
