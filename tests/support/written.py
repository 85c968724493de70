"""Networks written as flat ONNX models, and what those answer beside the files."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx

from onnx2mvit import inspect
from onnx2mvit.emitter import Port, inference_model
from onnx2mvit.ir.graph import Value
from onnx2mvit.ir.network import Network
from onnx2mvit.runtimes import (
    InBatches,
    KerasLayout,
    OnnxRuntimeRunner,
    Outputs,
    compare,
    keras_inputs,
)
from onnx2mvit.runtimes.inputs import some_inputs

IMAGES = 5  # another number than any file here is read for


def port(network: Network, value: Value, name: str) -> Port:
    """A tensor as Keras has it, with an open batch."""
    order, batch = network.order(value), network.layouts[value].batch
    shape = [None if axis == batch else (value.shape or ())[axis] for axis in order]
    return Port(value, name, order, shape, np.dtype(value.dtype))


def written(network: Network) -> onnx.ModelProto:
    graph = network.graph
    named = zip(graph.outputs, graph.output_names, strict=True)
    made = inference_model(
        network,
        [port(network, value, value.name) for value in graph.inputs],
        [port(network, value, name) for value, name in named],
        {},
    )
    onnx.checker.check_model(made)
    return made


def both(file: Path) -> tuple[onnx.ModelProto, Outputs, Outputs]:
    """What is written, its answers, and those of the file, on more images than that is read for."""
    network = inspect(file)
    made = written(network)
    inputs, _ = some_inputs(network, None, IMAGES)
    whole = InBatches(OnnxRuntimeRunner(file), network.file_batch, network.batch_axes)
    given = keras_inputs(network, inputs)
    theirs = KerasLayout(whole, network)(given)
    return made, OnnxRuntimeRunner(made.SerializeToString())(given), theirs


def answers_alike(file: Path) -> onnx.ModelProto:
    """What is written answers as the file, on as many images at once as that never had."""
    made, ours, theirs = both(file)
    assert all(each.within(2e-6) for each in compare(ours, theirs).values())
    return made


def ops(made: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in made.graph.node)
