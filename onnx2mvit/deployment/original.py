"""What a deployed file is compared with: the ONNX file it came from, or the Keras model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.base.user_files import sha256_of
from onnx2mvit.builder import (
    block_weights,
    in_float64,
    is_swapped,
    other_weights,
    quantization_aware,
)
from onnx2mvit.deployment.interface import Interface
from onnx2mvit.errors import UsageError
from onnx2mvit.reports import how_read
from onnx2mvit.runtimes import (
    Float64Runner,
    InBatches,
    Inputs,
    KerasLayout,
    KerasRunner,
    OnnxRuntimeRunner,
    Outputs,
    Runner,
)
from onnx2mvit.stages import inspect

if TYPE_CHECKING:
    import keras

    from onnx2mvit.ir.network import Network


@dataclass(frozen=True)
class Original:
    """Gives the right answers, in the order of the model's outputs and in Keras's layout.

    `float64` makes a runner of the same in float64, which is slow. `network` is that of the ONNX
    file, if there is one, be it compared with or not.
    """

    name: str
    runner: Runner
    float64: Callable[[], Runner]
    notes: tuple[str, ...] = ()
    network: Network | None = None


def find_original(
    target: Path, given: Path | None, report: dict[str, Any], size: tuple[int, int] | None
) -> Original | None:
    """The ONNX file that is given, or that lies in one of the usual places.

    None if there is none, or if it takes images of another size.

    Raises:
        UsageError: the given file is not the one that the model was converted from, or takes
            images of another size.
        InvalidModelError: it is not a usable ONNX file.
    """
    known = report.get("onnx", {})
    path = given or _usual_place(target, known)
    if path is None:
        return None
    how = how_read(target, path)
    network = inspect(path, **how)
    if network.traced_size not in (None, size) and given is None:
        return None
    if known.get("sha256") not in (None, network.graph.source.sha256):
        raise UsageError(f"{path} is not the file that {target} was converted from")
    if size and network.traced_size not in (size, None) and network.graph.source.dynamic_size:
        there = inspect(path, size=size, **how)
        network = network if there.refused else there
    if size is not None and network.traced_size not in (size, None):
        raise UsageError(
            "{} was exported for {}×{}: leave --onnx out to compare a file for {}×{} with the "
            "Keras model".format(path, *(network.traced_size or ()), *size)
        )
    names = network.graph.source.outputs
    session = OnnxRuntimeRunner(path, outputs=names)

    def float64() -> Runner:
        return _in_keras_layout(Float64Runner(path, outputs=names), network)

    runner = _in_keras_layout(session, network)
    return Original(f"onnxruntime on {path.name}", runner, float64, network=network)


def _in_keras_layout(runner: Runner, network: Network) -> Runner:
    """Runs a file on inputs in the order of the model, by whatever names."""
    in_batches = InBatches(runner, network.file_batch, network.batch_axes)
    file = KerasLayout(in_batches, network)
    names = [value.name for value in network.graph.inputs]

    def run(inputs: Inputs) -> Outputs:
        """By the names of the file, which may be others than Keras's; the order is the same."""
        assert not isinstance(inputs, np.ndarray)
        return file(dict(zip(names, inputs.values(), strict=True)))

    return run


def original_of(model: keras.Model, interface: Interface, found: Original | None) -> Original:
    """What a model is compared with: the file, or itself, with a note that says so.

    Args:
        model: that is deployed.
        interface: what it takes.
        found: the ONNX file that it was converted from, if that is at hand. It says nothing of a
            model that was trained further, or has another head.
    """
    if found is not None and found.network is not None:
        changed = _changed(model, found.network)
        if not changed:
            return found
        why, network = f"{changed} of {found.network.graph.source.file}", found.network
    else:
        why, network = f"no ONNX file for {interface.size} was given or found (--onnx FILE)", None
    return Original(
        "the Keras model",
        KerasRunner(model),
        lambda: KerasRunner(in_float64(model)),
        (f"compared with the Keras model: {why}",),
        network,
    )


def as_trained(model: keras.Model, float32: Sequence[str]) -> Original:
    """What a model was trained to answer under `quantization_aware`, with these blocks left out."""
    runner = KerasRunner(model)

    def run(inputs: Inputs) -> Outputs:
        with quantization_aware(model, float32):
            return runner(inputs)

    name = "the Keras model under quantization_aware"
    return Original(name, run, lambda: KerasRunner(in_float64(model)))


def _changed(model: keras.Model, network: Network) -> str:
    """What of a model is not as in the file, in words; empty where nothing is."""
    weights = block_weights(network.blocks)
    if changed := other_weights(model, weights):
        return f"{len(changed)} of {len(weights)} weights are not those"
    if is_swapped(model, network):
        return "its activations are not those"
    graph = network.graph
    ranks = [len(value.shape or ()) for value in graph.outputs]
    return (
        "" if ranks == [len(each.shape) for each in model.outputs] else "its outputs are not those"
    )


def _usual_place(target: Path, known: dict[str, Any]) -> Path | None:
    """Where it was converted, or where `export` leaves files, if it is the same file still."""
    name = Path(known.get("file", "")).name
    folder = target if target.is_dir() else target.parent
    if not name:
        return None
    converted = folder.resolve() / known.get("folder", "")
    for place in (folder, folder.parent, converted, Path("exported_onnx"), Path()):
        path = place / name
        with suppress(OSError):  # a report may have been edited
            if path.is_file() and sha256_of(path) == known["sha256"]:
                return path
    return None
