"""The runtimes that are timed: each is ready, has run once, and answers as onnxruntime does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.base.quiet import one_line
from onnx2mvit.benchmarks.machine import memory
from onnx2mvit.deployment import describe_model, litert_model, openvino_model, write_onnx
from onnx2mvit.errors import (
    InvalidModelError,
    MissingDependencyError,
    UnsupportedError,
    VerificationError,
)
from onnx2mvit.ir.network import Network
from onnx2mvit.runtimes import (
    KerasRunner,
    LiteRTRunner,
    OnnxRuntimeRunner,
    OpenVINORunner,
    Outputs,
    Runner,
    compare,
    file_outputs,
    has_openvino,
    keras_inputs,
    some_inputs,
    worst,
)
from onnx2mvit.runtimes.tolerances import SPEED

if TYPE_CHECKING:
    import keras

Array = np.ndarray[Any, Any]
OURS, OPENVINO = "onnxruntime, ONNX of deploy", "OpenVINO float32"  # both read our ONNX


@dataclass(frozen=True)
class Contender:
    """A runtime on its inputs: how far it is from onnxruntime, and the bytes that it took."""

    name: str
    runner: Runner
    inputs: dict[str, Array]
    max_rel_error: float
    memory: int

    def __call__(self) -> Outputs:
        """Runs the network once, and hands the outputs over."""
        return self.runner(self.inputs)


def contenders(
    path: Path,
    network: Network,
    model: keras.Model,
    batch: int,
    threads: int,
    folder: Path,
    progress: Callable[[str], None],
) -> tuple[list[Contender], list[str]]:
    """onnxruntime on the file and on ours, Keras, LiteRT and, if it is installed, OpenVINO.

    All are run on so many structured images. What is written for that goes into `folder`.

    Returns:
        The runtimes, and notes of those that are left out: our ONNX where it cannot be written,
        and those that cannot read what was written for them.

    Raises:
        InvalidModelError: onnxruntime cannot load the file, or not run it on so many images.
        VerificationError: a runtime does not answer what onnxruntime answers.
    """
    inputs, _ = some_inputs(network, None, batch)
    interface = describe_model(model, batch, network.traced_size)
    names = [tensor.name for tensor in interface.inputs]
    own = dict(zip(names, keras_inputs(network, inputs).values(), strict=True))
    progress(f"batch {batch}: converting to LiteRT")
    # With the batch left open, XNNPACK does not take the operators around unknown shapes.
    content = litert_model(model, interface)
    had = memory()
    runner = OnnxRuntimeRunner(
        path, outputs=network.graph.source.outputs, arena=True, threads=threads
    )
    try:
        expected = runner(inputs)
    except InvalidModelError as error:
        raise InvalidModelError(
            f"onnxruntime cannot run {path} on a batch of {batch}: {one_line(error)}"
        ) from error
    found = [Contender("onnxruntime", runner, inputs, 0.0, max(0, memory() - had))]
    deployed = folder / "deployed.onnx"
    makers: dict[str, Callable[[], Runner]] = {
        OURS: lambda: OnnxRuntimeRunner(deployed, arena=True, threads=threads),
        "Keras, tf.function": lambda: KerasRunner(model, compiled=True),
        "LiteRT float32": lambda: LiteRTRunner(content, threads),
    }
    if has_openvino():
        makers[OPENVINO] = lambda: OpenVINORunner(openvino_model(deployed, interface), threads)
    notes = []
    try:
        write_onnx(model, deployed, interface, interface, {}, network)
    except (UnsupportedError, MissingDependencyError) as why:
        left_out = [name for name in (OURS, OPENVINO) if makers.pop(name, None)]
        notes.append(f"{' and '.join(left_out)} left out: our ONNX cannot be written: {why}")
    for name, make in makers.items():
        had = memory()
        try:
            ours = make()
        except UnsupportedError as why:
            notes.append(f"{name} left out: {why}")
            continue
        made = ours(own)
        try:
            answers = file_outputs(network, [made[tensor.name] for tensor in interface.outputs])
        except ValueError as error:  # a model that was changed may give anything
            raise VerificationError(
                f"{name} gives other tensors than onnxruntime: {one_line(error)}"
            ) from error
        taken = max(0, memory() - had)
        found.append(Contender(name, ours, own, _error(name, answers, expected), taken))
    return found, notes


def _error(name: str, answers: Outputs, expected: Outputs) -> float:
    """The largest difference of an output, as a share of its largest value."""
    found = worst(compare(answers, expected).values())
    if not found.within(SPEED):
        raise VerificationError(
            f"{name} differs from onnxruntime by {found.relative_error:.1e} of the largest value: "
            "its speed says nothing"
        )
    return found.max_rel_error
