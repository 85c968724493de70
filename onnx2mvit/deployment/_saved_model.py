"""A Keras model as a SavedModel, with its inputs and outputs under their names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx2mvit.base.optional import import_tensorflow
from onnx2mvit.base.quiet import quiet
from onnx2mvit.deployment._interface import Interface
from onnx2mvit.runtimes import SERVE

if TYPE_CHECKING:
    import keras

FEATURES = "features"


def write_saved_model(
    model: keras.Model, folder: Path, interface: Interface, extractor: keras.Model | None = None
) -> None:
    """Writes the signatures `serving_default` and, if there is an `extractor`, `features`.

    Both take the inputs of the interface by their names. The first gives the outputs by their
    names, the second one tensor by the name `features`.

    Raises:
        MissingDependencyError: Keras does not run on TensorFlow.
    """
    tensorflow = import_tensorflow()
    import keras

    def run(one: keras.Model, tensors: Any) -> Any:
        return one(list(tensors) if len(tensors) > 1 else tensors[0], training=False)

    def serve(*tensors: Any) -> dict[str, Any]:
        answers = keras.tree.flatten(run(model, tensors))
        names = (tensor.name for tensor in interface.outputs)
        return dict(zip(names, answers, strict=True))

    def extract(*tensors: Any) -> dict[str, Any]:
        assert extractor is not None
        return {FEATURES: run(extractor, tensors)}

    signature = [
        tensorflow.TensorSpec(tensor.shape, tensor.dtype, name=tensor.name)
        for tensor in interface.inputs
    ]
    archive = keras.export.ExportArchive()
    with quiet():
        archive.track(model)
        archive.add_endpoint(SERVE, serve, input_signature=signature)
        if extractor is not None:
            archive.track(extractor)
            archive.add_endpoint(FEATURES, extract, input_signature=signature)
        archive.write_out(str(folder), verbose=False)
