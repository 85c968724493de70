"""One network in each runtime: onnxruntime on the file, Keras and LiteRT on the model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime

from onnx2mvit.base.backend import import_keras
from onnx2mvit.base.optional import import_tensorflow, optional
from onnx2mvit.base.quiet import one_line, quiet
from onnx2mvit.errors import InvalidModelError
from onnx2mvit.runtimes.images import Images
from onnx2mvit.runtimes.reference import FAILURES

if TYPE_CHECKING:
    import keras

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Runtime:
    """A network that is ready: `call` runs it once on its images and hands the outputs over."""

    name: str
    call: Callable[[], list[Array]]


def onnxruntime_of(path: Path, images: Images, threads: int) -> Runtime:
    """onnxruntime on a file, for images (N, C, H, W), as it is by default.

    Raises:
        InvalidModelError: it cannot load the file, or not run it on so many images.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        feed = {session.get_inputs()[0].name: images}
        session.run(None, feed)
    except FAILURES as error:
        raise InvalidModelError(
            f"onnxruntime cannot run {path} on {len(images)} images: {one_line(error)}"
        ) from error
    return Runtime("onnxruntime", lambda: session.run(None, feed))


def unfused_batch_norms(path: Path) -> int:
    """How many BatchNormalization onnxruntime still has after its optimisations of a file.

    It folds them into convolutions whose weights and bias are constants. Torch's dynamo exporter
    computes the biases when it is not to fold (`optimize=False`); the file then takes nearly
    twice as long (MobileViT-XS, onnxruntime 1.31).
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # The last level would write them as convolutions, where the processor likes that.
    level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.graph_optimization_level = level
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        try:
            onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except FAILURES as error:
            raise InvalidModelError(f"onnxruntime cannot load {path}: {one_line(error)}") from error
        optimized = onnx.load(options.optimized_model_filepath, load_external_data=False)
    return sum(node.op_type == "BatchNormalization" for node in optimized.graph.node)


def keras_of(model: keras.Model, pixels: Images) -> Runtime:
    """A model as a tf.function, with its weights as variables, for images (N, H, W, C)."""
    tf = import_tensorflow()
    tensor = tf.constant(pixels)
    function = tf.function(lambda x: model(x, training=False), autograph=False)
    function = function.get_concrete_function(tf.TensorSpec(tensor.shape, tensor.dtype))
    return Runtime("Keras, tf.function", lambda: _arrays(function(tensor)))


def litert_model(model: keras.Model, batch: int) -> bytes:
    """A model as a LiteRT file in float32 for so many images at a time.

    With the batch left open, some shapes are known only at run time, and XNNPACK does not take
    the operators around them.
    """
    keras = import_keras()
    tf = import_tensorflow()
    inputs = keras.Input(batch_shape=(batch, *model.input_shape[1:]))
    with quiet():
        converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(inputs, model(inputs)))
        content: bytes = converter.convert()
    return content


def import_litert() -> ModuleType:
    """The module of LiteRT's interpreter.

    Raises:
        MissingDependencyError: ai-edge-litert is not installed.
    """
    return optional("ai_edge_litert.interpreter", extra="benchmark")


def litert_of(content: bytes, pixels: Images, threads: int) -> Runtime:
    """LiteRT with XNNPACK, its default, on a file for as many images (N, H, W, C)."""
    with quiet():
        interpreter = import_litert().Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
    (signature,) = interpreter.get_signature_list()
    runner = interpreter.get_signature_runner(signature)
    source = interpreter.get_input_details()[0]["index"]
    outputs = [details["index"] for _, details in sorted(runner.get_output_details().items())]

    def call() -> list[Array]:
        interpreter.set_tensor(source, pixels)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in outputs]

    return Runtime("LiteRT float32", call)


def _arrays(answer: Any) -> list[Array]:
    import keras

    return [tensor.numpy() for tensor in keras.tree.flatten(answer)]
