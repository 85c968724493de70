"""A Keras model as a SavedModel, with its inputs and outputs under their names.

What is loaded of it can also be called, as TensorFlow Hub has its models
(https://www.tensorflow.org/hub/reusable_saved_models), which trains it further.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx2mvit.base.optional import import_tensorflow
from onnx2mvit.base.quiet import quiet
from onnx2mvit.deployment.fewer_operators import fewer_operators
from onnx2mvit.deployment.interface import Interface
from onnx2mvit.runtimes import SERVE

if TYPE_CHECKING:
    import keras


def write_saved_model(
    model: keras.Model,
    folder: Path,
    interface: Interface,
    extractors: Mapping[str, keras.Model] | None = None,
    norms: bool = True,
) -> None:
    """Writes the signature `serving_default`, and one for each extractor.

    Args:
        model: gives the outputs of `interface`, by their names in `serving_default`.
        folder: is made.
        interface: whose inputs all signatures take by their names.
        extractors: by the name of their signature and of the one tensor that it gives. What is
            loaded can be called with the one input, and with `training=True` as well. Neither is
            in a file that is converted further, for which this is None.
        norms: whether normalization may have the form of `fewer_operators`.

    Raises:
        MissingDependencyError: Keras does not run on TensorFlow.
    """
    tensorflow = import_tensorflow()
    import keras

    def run(one: keras.Model, tensors: Any, training: bool = False) -> Any:
        return one(list(tensors) if len(tensors) > 1 else tensors[0], training=training)

    def serve(*tensors: Any) -> dict[str, Any]:
        answers = keras.tree.flatten(run(model, tensors))
        names = (tensor.name for tensor in interface.outputs)
        return dict(zip(names, answers, strict=True))

    def extract(name: str) -> Any:
        one = (extractors or {})[name]
        return lambda *tensors: {name: run(one, tensors)}

    takes = [
        tensorflow.TensorSpec(tensor.shape, tensor.dtype, name=tensor.name)
        for tensor in interface.inputs
    ]
    gives = {SERVE: serve} | {name: extract(name) for name in extractors or ()}
    saved = tensorflow.train.Checkpoint()
    saved.variables = [each.value for each in model.variables]
    saved.trainable_variables = [each.value for each in model.trainable_variables]
    with quiet(), fewer_operators(model, norms):
        if extractors is not None and len(takes) == 1:
            call = tensorflow.function(
                lambda images, training=False: run(model, [images], training), autograph=False
            )
            for training in (False, True):
                call.get_concrete_function(*takes, training=training)
            saved.__call__ = call
        signatures = {
            name: tensorflow.function(each, input_signature=takes, autograph=False)
            for name, each in gives.items()
        }
        for name, each in signatures.items():  # as Keras's own export has them
            setattr(saved, name, each)
        tensorflow.saved_model.save(saved, str(folder), signatures=signatures)
