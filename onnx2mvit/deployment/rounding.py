"""Kernels rounded to int8 so that what their operators give of images changes least.

Rounded one by one, weights lose most where what they read has a mean or varies together, as pixels
of an image do: their errors add up then. Here each weight is rounded after the others have taken
over what those before it lost, weighed by how the numbers that they read vary together (GPTQ:
Frantar et al., ICLR 2023), and the bias takes over what that loses in the mean. It costs the file
nothing. A kernel so rounded is on the quantizer's own steps, which leaves it as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnx2mvit.base.optional import optional
from onnx2mvit.deployment.candidates import Images
from onnx2mvit.deployment.interface import Interface
from onnx2mvit.deployment.litert_graph import (
    as_quantized,
    constants,
    has_bias,
    named_operators,
    read_model,
    values,
)
from onnx2mvit.runtimes import Inputs, LiteRTRunner, Outputs
from onnx2mvit.runtimes.runner import batch_size

Array = np.ndarray[Any, Any]
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
WINDOWS = 1024  # of each operator, of all images together
DAMPING = 0.01  # of the mean variance, added to each: windows are few
STEPS = 127  # to each side of zero
SAME = 0  # padding, as LiteRT's schema counts


@dataclass(frozen=True)
class Kernel:
    """What takes the place of an operator's kernel, and of its bias if it has one."""

    weights: Array
    bias: Array | None


def rounded_kernels(content: bytes, interface: Interface, inputs: Images) -> dict[str, Kernel]:
    """The kernels of a float32 LiteRT file, each rounded to its steps of int8, by scopes.

    Args:
        content: the file.
        interface: what it takes and gives.
        inputs: images, by name, of which it is measured what the operators read.
    """
    model = read_model(content)
    weighted = {
        as_quantized(kind, each, graph).scope: (kind, each, graph)
        for graph in model.subgraphs
        for kind, each in named_operators(model, graph)
        if kind in WEIGHTED and int(each.inputs[1]) in constants(model, graph)
    }
    few = -(-WINDOWS // (batch_size(inputs, interface.axes) or 1))
    seen: dict[str, list[Array]] = {scope: [] for scope in weighted}
    runner = LiteRTRunner(content, keep_tensors=True)

    def watched(inputs: Inputs) -> Outputs:
        answers, tensors = runner(inputs), dict(runner.tensors())
        for scope, (kind, each, graph) in weighted.items():
            read = tensors.get(graph.tensors[each.inputs[0]].name.decode())
            if read is not None:
                seen[scope].append(_windows(kind, each, graph, read, few))
        return answers

    interface.run(watched, inputs)
    return {
        scope: _rounded_kernel(model, *weighted[scope], np.concatenate(found, axis=1))
        for scope, found in seen.items()
        if found
    }


def with_kernels(content: bytes, kernels: Mapping[str, Kernel], scopes: Collection[str]) -> bytes:
    """A LiteRT file with other kernels for some operators; what others read as well stays."""
    tools = optional("ai_edge_litert.tools.flatbuffer_utils")
    model = read_model(content)
    buffers = Counter(tensor.buffer for graph in model.subgraphs for tensor in graph.tensors)
    for graph in model.subgraphs:
        readers = Counter(int(index) for each in graph.operators for index in each.inputs)
        for kind, each in named_operators(model, graph):
            scope = as_quantized(kind, each, graph).scope
            if scope not in scopes or scope not in kernels:
                continue
            each.inputs = np.array(each.inputs, np.int32)
            for place, numbers in ((1, kernels[scope].weights), (2, kernels[scope].bias)):
                if numbers is None:
                    continue
                index = each.inputs[place]
                if readers[index] > 1 or buffers[graph.tensors[index].buffer] > 1:
                    index = each.inputs[place] = _copied(model, graph, index)
                data = np.frombuffer(numbers.astype(np.float32).tobytes(), np.uint8)
                model.buffers[graph.tensors[index].buffer].data = data
    return bytes(tools.convert_object_to_bytearray(model))


def _copied(model: Any, graph: Any, index: int) -> int:
    """The index of a new tensor, like another, with a buffer of its own."""
    tensor = copy(graph.tensors[index])
    model.buffers.append(copy(model.buffers[tensor.buffer]))
    tensor.buffer, tensor.name = len(model.buffers) - 1, tensor.name + b"/%d" % len(graph.tensors)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _windows(kind: str, operator: Any, graph: Any, read: Array, few: int) -> Array:
    """Some of what a kernel is laid over, (groups, few, length).

    Of a depthwise kernel each of its channels is a group.
    """
    rng = np.random.default_rng(0)
    if kind == "FULLY_CONNECTED":
        rows: Array = rng.permutation(read.reshape(-1, read.shape[-1]))[None, :few]
        return rows.astype(np.float64)
    how = operator.builtinOptions
    _, height, width, depth = map(int, graph.tensors[operator.inputs[1]].shape)
    padding, picked = [(0, 0)], []
    for axis, (length, stride, dilation) in enumerate(
        ((height, how.strideH, how.dilationHFactor), (width, how.strideW, how.dilationWFactor)), 1
    ):
        size, reach = read.shape[axis], (length - 1) * dilation + 1
        count = -(-size // stride) if how.padding == SAME else (size - reach) // stride + 1
        outside = max((count - 1) * stride + reach - size, 0) if how.padding == SAME else 0
        padding.append((outside // 2, outside - outside // 2))
        first = rng.integers(0, count, few) * stride
        picked.append(first[:, None] + np.arange(length) * dilation)
    image = rng.integers(0, len(read), few)[:, None, None]
    padded = np.pad(read, [*padding, (0, 0)])
    found: Array = padded[image, picked[0][:, :, None], picked[1][:, None, :]].astype(np.float64)
    channels = found.shape[-1]
    groups = channels // depth if kind == "CONV_2D" else channels
    found = found.reshape(few, height * width, groups, -1).transpose(2, 0, 1, 3)
    found = found.reshape(groups, few, -1)
    return found if kind == "CONV_2D" else found.repeat(depth // channels, axis=0)


def _rounded_kernel(model: Any, kind: str, operator: Any, graph: Any, windows: Array) -> Kernel:
    """`windows` are (groups, any number, length), as `_windows` gives them."""
    weights, depthwise = values(model, graph, operator.inputs[1]), kind == "DEPTHWISE_CONV_2D"
    shape = weights.shape
    if depthwise:
        rows = weights.reshape(-1, shape[-1]).T[:, None]
    else:
        rows = weights.reshape(len(windows), -1, windows.shape[-1])
    biased = has_bias(operator)
    mean = windows.mean(1, keepdims=True) * biased  # which nothing makes up for without a bias
    found = rounded(rows, windows - mean)
    bias = None
    if biased:
        bias = values(model, graph, operator.inputs[2]) + ((rows - found) * mean).sum(-1).ravel()
    return Kernel((found[:, 0].T if depthwise else found).reshape(shape), bias)


def rounded(rows: Array, windows: Array) -> Array:
    """Rows of weights, each rounded to 127 steps to either side of zero, of its greatest weight.

    Args:
        rows: (kernels, filters, length); the filters of a kernel read the same windows.
        windows: (kernels, any number, length), what they read, less its mean if a bias is free.

    Returns:
        Multiples of the greatest weight of each row by 1/127, that one as it is.
    """
    length = rows.shape[-1]
    together = windows.transpose(0, 2, 1) @ windows / windows.shape[1]
    variance = np.trace(together, axis1=1, axis2=2)[:, None, None] / length
    together += (DAMPING * variance + (variance == 0)) * np.eye(length)
    taken_over = np.linalg.cholesky(np.linalg.inv(together)).transpose(0, 2, 1)
    step = np.abs(rows).max(-1, keepdims=True) / STEPS
    step[step == 0] = 1
    greatest = np.abs(rows).argmax(-1)
    left, found = rows.copy(), np.empty_like(rows)
    for place in range(length):
        share = taken_over[:, None, place, place:]
        near = np.clip(np.round(left[..., place] / step[..., 0]), -STEPS, STEPS) * step[..., 0]
        found[..., place] = np.where(greatest == place, rows[..., place], near)
        lost = (left[..., place] - found[..., place])[..., None] / share[..., :1]
        left[..., place:] -= lost * share
    return found
