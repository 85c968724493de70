"""A Keras model as a SavedModel, with its inputs and outputs under their names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.base.optional import import_tensorflow
from onnx2mvit.base.quiet import quiet
from onnx2mvit.deployment._interface import Interface

if TYPE_CHECKING:
    import keras

Array = np.ndarray[Any, Any]
SERVE, FEATURES = "serving_default", "features"


def write_saved_model(
    model: keras.Model, folder: Path, interface: Interface, extractor: keras.Model | None = None
) -> None:
    """Writes the signatures `serving_default` and, if there is an `extractor`, `features`.

    Both take float32 images of `interface.shape` by the name `interface.input`. The first gives
    the outputs by their names, the second one tensor by the name `features`.

    Raises:
        MissingDependencyError: Keras does not run on TensorFlow.
    """
    tensorflow = import_tensorflow()
    import keras

    def serve(images: Any) -> dict[str, Any]:
        answers = keras.tree.flatten(model(images, training=False))
        return dict(zip(interface.outputs, answers, strict=True))

    def extract(images: Any) -> dict[str, Any]:
        assert extractor is not None
        return {FEATURES: extractor(images, training=False)}

    signature = [tensorflow.TensorSpec(interface.shape, "float32", name=interface.input)]
    archive = keras.export.ExportArchive()
    with quiet():
        archive.track(model)
        archive.add_endpoint(SERVE, serve, input_signature=signature)
        if extractor is not None:
            archive.track(extractor)
            archive.add_endpoint(FEATURES, extract, input_signature=signature)
        archive.write_out(str(folder), verbose=False)


class SavedModel:
    """Runs a signature of a SavedModel."""

    def __init__(self, folder: Path, signature: str = SERVE) -> None:
        tensorflow = import_tensorflow()
        with quiet():
            self.loaded = tensorflow.saved_model.load(str(folder))
        self.call = self.loaded.signatures[signature]
        self.convert = tensorflow.constant

    def __call__(self, images: Array) -> dict[str, Array]:
        """All outputs by name for images in the model's own layout."""
        (name,) = self.call.structured_input_signature[1]
        answers = self.call(**{name: self.convert(images)})
        return {key: answer.numpy() for key, answer in answers.items()}
