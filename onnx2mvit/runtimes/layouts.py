"""Runners in the layout of the other side: the one place where images change their layout.

ONNX has channels after the batch (NCHW), Keras has them last (NHWC). What order each value has in
Keras was found out when the network was lowered; here tensors are brought into it and back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.ir.layout import Order, axes_between, plain
from onnx2mvit.runtimes.keras_runner import KerasRunner
from onnx2mvit.runtimes.runner import Inputs, Outputs, Runner, by_name

if TYPE_CHECKING:
    import keras

    from onnx2mvit.ir.network import Network

Array = np.ndarray[Any, Any]


def to_keras(array: Array, order: Order) -> Array:
    """A tensor of ONNX in this order of its axes, and of the memory: runtimes take no other."""
    return np.asarray(array.transpose(order), order="C")


def to_onnx(array: Array, order: Order) -> Array:
    """A tensor of Keras whose axes are in this order, as ONNX has it."""
    return to_keras(array, axes_between(order, plain(len(order))))


def keras_inputs(network: Network, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Inputs of the file as the Keras model takes them, by the names of the file.

    Their dtype stays; images become (batch, height, width, channels).
    """
    return {
        value.name: to_keras(inputs[value.name], network.order(value))
        for value in network.graph.inputs
    }


def file_outputs(network: Network, answers: Sequence[Array]) -> dict[str, Array]:
    """Answers of the Keras model, in its order, as the file has them and by its names.

    Their dtype stays; the shape is brought into ONNX's order of axes.
    """
    graph = network.graph
    return {
        name: to_onnx(answer, network.order(value))
        for name, value, answer in zip(graph.output_names, graph.outputs, answers, strict=True)
    }


class _Layouts:
    """The orders in which Keras has the inputs and outputs of a network, by their names."""

    def __init__(self, runner: Runner, network: Network) -> None:
        graph, self.network, self.runner = network.graph, network, runner
        self.inputs = {value.name: network.order(value) for value in graph.inputs}
        self.outputs = {
            name: network.order(value)
            for name, value in zip(graph.output_names, graph.outputs, strict=True)
        }

    def run(self, inputs: Inputs, turn: Callable[[Array, Order], Array]) -> Outputs:
        """What the runner answers to inputs that were turned into its layout."""
        feed = {
            name: turn(array, self.inputs[name])
            for name, array in by_name(inputs, list(self.inputs)).items()
        }
        return self.runner(feed if len(feed) > 1 else next(iter(feed.values())))


class OnnxLayout(_Layouts):
    """Runs what is in Keras's layout on tensors of the ONNX file; its outputs are as the file's.

    They bear the file's names, whatever the other runner calls them.
    """

    def __call__(self, inputs: Inputs) -> Outputs:
        """All outputs by name."""
        answers = self.run(inputs, to_keras)
        return file_outputs(self.network, list(answers.values()))


class KerasLayout(_Layouts):
    """Runs an ONNX file on tensors in Keras's layout; its outputs are as the Keras model's."""

    def __call__(self, inputs: Inputs) -> Outputs:
        """All outputs by the file's names."""
        answers = self.run(inputs, to_onnx)
        return {name: to_keras(answers[name], order) for name, order in self.outputs.items()}


def as_the_file(model: keras.Model, network: Network) -> Runner:
    """A Keras model that takes and gives what the ONNX file of this network does."""
    graph = network.graph
    names = [value.name for value in graph.inputs]
    return OnnxLayout(KerasRunner(model, names, graph.output_names), network)
