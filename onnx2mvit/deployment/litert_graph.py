"""What a LiteRT file consists of: its graphs, their operators and constants."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from onnx2mvit.base.optional import optional
from onnx2mvit.deployment.candidates import Operator


def read_model(content: bytes) -> Any:
    """The content of a LiteRT file as LiteRT's own tools have it."""
    tools = optional("ai_edge_litert.tools.flatbuffer_utils")
    return tools.read_model_from_bytearray(bytearray(content))


def named_operators(model: Any, graph: Any) -> Iterator[tuple[str, Any]]:
    """The operators of a graph in its order, each with its name; custom ones by their own."""
    tools = optional("ai_edge_litert.tools.flatbuffer_utils")
    for operator in graph.operators or ():
        custom = model.operatorCodes[operator.opcodeIndex].customCode
        if custom:
            yield custom.decode() if isinstance(custom, bytes) else str(custom), operator
        else:
            yield str(tools.opcode_to_name(model, operator.opcodeIndex)), operator


def constants(model: Any, graph: Any) -> set[int]:
    """The tensors of a graph that have their values in the file."""
    return {
        index
        for index, tensor in enumerate(graph.tensors)
        if model.buffers[tensor.buffer].data is not None
    }


def values(model: Any, graph: Any, index: int) -> np.ndarray[Any, Any]:
    """A float32 constant of a graph, in its shape, as float64."""
    tensor = graph.tensors[index]
    data = np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.float32)
    return data.reshape(tensor.shape).astype(np.float64)


def has_bias(operator: Any) -> bool:
    """Whether a convolution or a linear layer has one."""
    return len(operator.inputs) > 2 and operator.inputs[2] >= 0


def size(graph: Any, index: int) -> int:
    """How many numbers a tensor of a graph holds."""
    return math.prod(map(int, graph.tensors[index].shape))


def multiplications(operator: Any, graph: Any) -> int:
    """Those of a convolution or a linear layer, of one call of the file.

    Its kernel is (filters, height, width, channels) or (filters, channels).
    """
    _, *window = graph.tensors[operator.inputs[1]].shape
    return size(graph, operator.outputs[0]) * math.prod(map(int, window))


def as_quantized(
    kind: str, operator: Any, graph: Any, weights: int = 0, saved: float = 0.0
) -> Operator:
    """An operator of a graph as the quantizer knows it; the numbers are as in `Operator`."""
    scopes = optional("ai_edge_quantizer.utils.tfl_flatbuffer_utils")
    scope = scopes.get_op_scope(operator, graph.tensors)
    names = [graph.tensors[index].name.decode() for index in operator.inputs if index >= 0]
    return Operator(kind, scope, ";".join([scope, *names[1:]]), weights, saved)
