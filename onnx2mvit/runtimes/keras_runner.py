"""Keras: the answers of a model, layer by layer or as one tf.function."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from onnx2mvit.base.optional import import_tensorflow
from onnx2mvit.base.quiet import one_line
from onnx2mvit.errors import UnsupportedError
from onnx2mvit.runtimes.runner import Inputs, Outputs, by_name

if TYPE_CHECKING:
    import keras


class KerasRunner:
    """A Keras model at inference; inputs and outputs are in Keras's layout.

    `inputs` and `outputs` are other names for those of the model, in its order.
    """

    def __init__(
        self,
        model: keras.Model,
        inputs: Sequence[str] | None = None,
        outputs: Sequence[str] | None = None,
        compiled: bool = False,
    ) -> None:
        """`compiled` runs the model as a tf.function, traced for each shape that comes.

        Raises:
            MissingDependencyError: it is to be compiled, and Keras does not run on TensorFlow.
        """
        self.inputs = list(inputs or (tensor.name for tensor in model.inputs))
        self.outputs = list(outputs or model.output_names)
        self._call: Any = lambda tensors: model(tensors, training=False)
        if compiled:
            self._call = import_tensorflow().function(self._call, autograph=False)

    def __call__(self, inputs: Inputs) -> Outputs:
        """All outputs by name."""
        import keras

        feed = by_name(inputs, self.inputs)
        arrays = [feed[name] for name in self.inputs]
        answers = keras.tree.flatten(self._call(arrays if len(arrays) > 1 else arrays[0]))
        found = [keras.ops.convert_to_numpy(answer) for answer in answers]
        return dict(zip(self.outputs, found, strict=True))


@contextmanager
def backend_runs() -> Iterator[None]:
    """Meanwhile Keras runs a model or a layer, which not every backend can.

    Raises:
        UnsupportedError: it cannot.
    """
    try:
        yield
    except Exception as error:  # backends have classes of their own
        raise UnsupportedError(
            f"Keras's backend cannot run the model: {one_line(error)}"
        ) from error
