"""The runtimes that are timed: each is ready, has run once, and answers as onnxruntime does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.base.backend import import_keras
from onnx2mvit.base.optional import import_tensorflow
from onnx2mvit.base.quiet import one_line, quiet
from onnx2mvit.benchmarks.machine import memory
from onnx2mvit.errors import InvalidModelError, VerificationError
from onnx2mvit.ir.network import Network
from onnx2mvit.runtimes.comparison import Comparison
from onnx2mvit.runtimes.images import structured_images
from onnx2mvit.runtimes.keras_runner import KerasRunner
from onnx2mvit.runtimes.layouts import OnnxLayout, file_images
from onnx2mvit.runtimes.litert_runner import LiteRTRunner
from onnx2mvit.runtimes.onnxruntime_runner import OnnxRuntimeRunner
from onnx2mvit.runtimes.runner import Outputs, Runner
from onnx2mvit.runtimes.tolerances import SPEED

if TYPE_CHECKING:
    import keras

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Contender:
    """A runtime on its images: how far it is from onnxruntime, and the bytes that it took."""

    name: str
    runner: Runner
    images: Array
    max_rel_error: float
    memory: int

    def __call__(self) -> Outputs:
        """Runs the network once, and hands the outputs over."""
        return self.runner(self.images)


def contenders(
    path: Path,
    network: Network,
    model: keras.Model,
    batch: int,
    threads: int,
    progress: Callable[[str], None],
) -> list[Contender]:
    """onnxruntime on the file, Keras as a tf.function and LiteRT, on as many structured images.

    Raises:
        InvalidModelError: onnxruntime cannot load the file, or not run it on so many images.
        VerificationError: a runtime does not answer what onnxruntime answers.
    """
    channels, height, width = network.image_shape
    pixels = structured_images(batch, height, width, channels)
    images = file_images(network, pixels)
    progress(f"batch {batch}: converting to LiteRT")
    content = litert_model(model, batch)
    had = memory()
    runner = OnnxRuntimeRunner(path, arena=True, threads=threads)
    try:
        expected = runner(images)
    except InvalidModelError as error:
        raise InvalidModelError(
            f"onnxruntime cannot run {path} on {batch} images: {one_line(error)}"
        ) from error
    found = [Contender("onnxruntime", runner, images, 0.0, max(0, memory() - had))]
    makers: dict[str, Callable[[], Runner]] = {
        "Keras, tf.function": lambda: KerasRunner(model, compiled=True),
        "LiteRT float32": lambda: LiteRTRunner(content, threads),
    }
    for name, make in makers.items():
        had = memory()
        ours = make()
        answers = OnnxLayout(ours, network)(images)
        taken = max(0, memory() - had)
        found.append(Contender(name, ours, pixels, _error(name, answers, expected), taken))
    return found


def _error(name: str, answers: Outputs, expected: Outputs) -> float:
    """The largest difference of an output, as a share of its largest value."""
    compared = [Comparison().add(answers[output], expected[output]) for output in expected]
    worst = max(compared, key=lambda comparison: comparison.max_rel_error)
    if not worst.within(SPEED):
        raise VerificationError(
            f"{name} differs from onnxruntime by {worst.relative_error:.1e} of the largest value: "
            "its speed says nothing"
        )
    return worst.max_rel_error


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
