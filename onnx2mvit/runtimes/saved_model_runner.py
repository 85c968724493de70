"""TensorFlow: the answers of a signature of a SavedModel."""

from __future__ import annotations

from pathlib import Path

from onnx2mvit.base.optional import import_tensorflow
from onnx2mvit.base.quiet import quiet
from onnx2mvit.runtimes.runner import Inputs, Outputs, by_name

SERVE = "serving_default"


class SavedModelRunner:
    """A signature of a SavedModel; inputs and outputs are in Keras's layout.

    `batch` is the number of images that it takes, None for any.
    """

    def __init__(self, folder: Path, signature: str = SERVE) -> None:
        tensorflow = import_tensorflow()
        with quiet():
            self.loaded = tensorflow.saved_model.load(str(folder))
        self.call = self.loaded.signatures[signature]
        self.convert = tensorflow.constant
        _, specs = self.call.structured_input_signature
        self.inputs = list(specs)
        shapes = [spec.shape for spec in specs.values() if spec.shape.rank]
        self.batch: int | None = shapes[0][0] if shapes else None

    def __call__(self, inputs: Inputs) -> Outputs:
        """All outputs by name."""
        feed = by_name(inputs, self.inputs)
        answers = self.call(**{name: self.convert(array) for name, array in feed.items()})
        return {name: answer.numpy() for name, answer in answers.items()}
