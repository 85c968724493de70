"""ONNX files: written from the lifted graph, with the weights that the Keras model has.

Where the graph is not at hand, or is not what the model computes, tf2onnx writes what TensorFlow
traces of the model, and a note says why.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from onnx2mvit.builder import float64_allowed, in_float64, is_swapped, weights_by_path
from onnx2mvit.deployment.interface import Interface, Tensor, in_keras_layout
from onnx2mvit.deployment.tf2onnx import traced_model
from onnx2mvit.emitter import Port, inference_model
from onnx2mvit.errors import InvalidModelError, UnsupportedError
from onnx2mvit.ir.graph import Value
from onnx2mvit.ir.network import Network
from onnx2mvit.lifter.constants import other_constants
from onnx2mvit.lifter.head import head_of
from onnx2mvit.runtimes import (
    Float64Runner,
    KerasRunner,
    OnnxRuntimeRunner,
    Outputs,
    compare,
)
from onnx2mvit.runtimes.float64_runner import widened
from onnx2mvit.runtimes.tolerances import SPEED

if TYPE_CHECKING:
    import keras

TRIED = 2  # images; one more if the file is for that many
NO_FILE = "no ONNX file that it was converted from was given or found (--onnx FILE)"


def write_onnx(
    model: keras.Model,
    path: Path,
    interface: Interface,
    file: Interface,
    entries: dict[str, Any],
    network: Network | None,
) -> list[str]:
    """Writes a model, with `entries` as metadata.

    Args:
        model: what is written.
        path: of the file.
        interface: what the model takes and gives.
        file: what the file does, under these names; images may have their channels first.
        entries: metadata, plain values by name.
        network: of the ONNX file that the model was converted from, if that is at hand.

    Returns:
        Notes: why it was written by tf2onnx, if it was.

    Raises:
        MissingDependencyError: tf2onnx is needed and not installed, or Keras not on TensorFlow.
        UnsupportedError: tf2onnx is needed, and cannot write an operation of this model, or the
            channels first.
    """
    notes = []
    try:
        if network is None:
            raise UnsupportedError(NO_FILE)
        made = _from_network(model, interface, file, network)
    except UnsupportedError as why:
        if file != interface:
            raise UnsupportedError(f"channels come first in the lifted graph alone: {why}") from why
        try:
            made = traced_model(model, interface)
        except UnsupportedError as error:
            raise UnsupportedError(f"{error}; nor is it written from a graph: {why}") from error
        notes.append(f"written by tf2onnx from the Keras model: {why}")
    for key, value in entries.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        made.metadata_props.add(key=f"onnx2mvit.{key}", value=text)
    onnx.save(made, path)
    return notes


def _from_network(
    model: keras.Model, interface: Interface, file: Interface, network: Network
) -> onnx.ModelProto:
    """The lifted graph with the weights of a model, tried on a few images."""
    made = inference_model(
        network,
        _ports(network, interface.inputs, file.inputs, network.graph.inputs),
        _ports(network, interface.outputs, file.outputs, _outputs(model, network)),
        other_constants(network.blocks, weights_by_path(model)),
        hard_activations=is_swapped(model, network),
    )
    images = interface.batch or TRIED + (network.graph.batch_size == TRIED)
    inputs, _ = interface.some_inputs(None, images, seed=0, most=images)
    try:
        ours = in_keras_layout(OnnxRuntimeRunner(made.SerializeToString()), interface, file)(inputs)
    except InvalidModelError as error:
        raise UnsupportedError(f"the graph does not hold what was changed: {error}") from error
    names = [tensor.name for tensor in interface.outputs]
    if not _near(ours, KerasRunner(model, outputs=names)(inputs)):
        with float64_allowed():  # it may be rounding, of a network that is ill-conditioned
            wide = widened(inputs)
            theirs = KerasRunner(in_float64(model), outputs=names)(wide)
            with suppress(UnsupportedError):  # then float32's answer stands for it
                ours = in_keras_layout(Float64Runner(made), interface, file)(wide)
        if not _near(ours, theirs):
            raise UnsupportedError(f"it is not what {network.graph.source.file} computes")
    return made


def _near(ours: Outputs, theirs: Outputs) -> bool:
    return all(each.relative_error <= SPEED for each in compare(ours, theirs).values())


def _outputs(model: keras.Model, network: Network) -> Sequence[Value]:
    """The tensors that a model gives: those of the file, or what its head would have read."""
    head, given = head_of(network), network.graph.outputs
    features = () if head is None else head.features
    headless = not _gives(model, network, given) and _gives(model, network, features)
    return features if headless else given


def _gives(model: keras.Model, network: Network, values: Sequence[Value]) -> bool:
    """Whether a model gives tensors of these shapes; the batch is first, lengths may be open."""
    shapes = [tuple((value.shape or ())[axis] for axis in network.order(value)) for value in values]
    return [len(shape) for shape in shapes] == [len(each.shape) for each in model.outputs] and all(
        theirs in (None, ours)
        for shape, tensor in zip(shapes, model.outputs, strict=True)
        for ours, theirs in zip(shape[1:], tensor.shape[1:], strict=True)
    )


def _ports(
    network: Network, keras: Sequence[Tensor], file: Sequence[Tensor], values: Sequence[Value]
) -> list[Port]:
    """The tensors of a graph as a file has them, whose axes may stand otherwise than in Keras."""
    if len(keras) != len(values):
        raise UnsupportedError("it has other inputs or outputs than the file")
    ports = []
    for ours, tensor, value in zip(keras, file, values, strict=True):
        order = network.order(value)
        if ours.axes != tensor.axes:
            order = tuple(order[ours.axes.index(axis)] for axis in tensor.axes)
        ports.append(Port(value, tensor.name, order, tensor.shape, np.dtype(tensor.dtype)))
    return ports
