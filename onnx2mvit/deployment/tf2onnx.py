"""ONNX by tf2onnx, from the Keras model alone: NHWC, for where there is no lifted graph of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.base.optional import import_tensorflow, optional
from onnx2mvit.base.output import temporary_folder
from onnx2mvit.base.quiet import one_line, quiet
from onnx2mvit.deployment.interface import Interface
from onnx2mvit.errors import UnsupportedError
from onnx2mvit.runtimes import exact_means

if TYPE_CHECKING:
    import keras
    import onnx

OPSET = 18  # the newest that tf2onnx 1.17 writes
GROUPED = "StatefulPartitionedCall"


def traced_model(model: keras.Model, interface: Interface) -> onnx.ModelProto:
    """A model under the names of the interface.

    Means over several axes are taken one after another (onnxruntime is inexact otherwise), and
    images are resized to a number of pixels, not by a scale.

    Raises:
        MissingDependencyError: tf2onnx is not installed, or Keras does not run on TensorFlow.
        UnsupportedError: tf2onnx cannot write an operation of this model.
    """
    import_tensorflow()
    _teach_erfc()
    import keras
    import onnx

    signature = [
        keras.InputSpec(shape=tensor.shape, dtype=tensor.dtype, name=tensor.name)
        for tensor in interface.inputs
    ]
    with temporary_folder() as folder, quiet():
        file = folder / "model.onnx"
        model.export(
            str(file),
            format="onnx",
            verbose=False,
            input_signature=signature if len(signature) == 1 else [signature],
            opset_version=OPSET,
        )
        made = onnx.load(file)
    lost = [value.name for value in made.graph.input][len(signature) :]
    if lost:
        # Tensors of TensorFlow that stand in the model; arrays of NumPy would be kept.
        raise UnsupportedError(
            f"tf2onnx cannot write this model: it takes constants for inputs: {', '.join(lost)}"
        )
    own = [value.name for value in (*made.graph.input, *made.graph.output)]
    names = [tensor.name for tensor in (*interface.inputs, *interface.outputs)]
    _rename(made.graph, dict(zip(own, names, strict=True)))
    exact_means(made)
    _exact_sizes(made)
    try:
        onnx.checker.check_model(made)
    except onnx.checker.ValidationError as error:
        why = one_line(error)
        if GROUPED in why:
            why = "Keras makes a grouped convolution by XLA on TensorFlow; litert can hold it"
        raise UnsupportedError(f"tf2onnx cannot write this model: {why}") from error
    return made


def _teach_erfc() -> None:
    """Tells tf2onnx (1.17) of TensorFlow's Erfc, which Keras's exact GELU is made of."""

    @optional("tf2onnx.handler").tf_op("Erfc")
    class _Erfc:
        @classmethod
        def version_9(cls, context: Any, node: Any, **_: Any) -> None:
            """Erfc(x) = 1 - Erf(x)."""
            node.type, erf = "Erf", node.output[0]
            one = context.make_const(f"{node.name}_one", np.array(1, np.float32)).output[0]
            name = f"{node.name}_complement"
            context.insert_new_node_on_output("Sub", erf, name=name, inputs=[one, erf])


def _rename(graph: Any, names: dict[str, str]) -> None:
    for value in (*graph.input, *graph.output):
        value.name = names[value.name]
    for node in graph.node:
        for tensors in (node.input, node.output):
            tensors[:] = [names.get(name, name) for name in tensors]


def _exact_sizes(model: Any) -> None:
    """Gives each Resize (operator version 18, NCHW) its height and width in the place of scales.

    tf2onnx writes scales in float32, and 6 pixels times 5/6 become 4.
    """
    import onnx

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "Resize" or len(node.input) != 3 or node.input[2] not in constants:
            continue
        # Anew each time: what a Resize before was thought to make may have been wrong.
        inferred = onnx.shape_inference.infer_shapes(model).graph
        known = {value.name: value.type.tensor_type.shape.dim for value in inferred.value_info}
        old = [length.dim_value for length in known.get(node.input[0], ())[2:]]
        if len(old) == 2 and all(old):
            scales = onnx.numpy_helper.to_array(constants[node.input[2]])[2:]
            name = f"{node.output[0]}/sizes"
            sizes = np.round(old * scales).astype(np.int64)
            model.graph.initializer.append(onnx.numpy_helper.from_array(sizes, name))
            node.input[1:] = ["", "", name]
            node.attribute.append(onnx.helper.make_attribute("axes", [2, 3]))
