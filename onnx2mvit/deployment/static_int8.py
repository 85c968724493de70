"""Static int8 for LiteRT: convolutions and what lies between them, wholly in integers.

Their activations are int8 too, each with one scale that images told beforehand, so that depthwise
convolutions, SiLU and additions are read and written in a quarter of the bytes. That is most of the
time of the first blocks, on large images, and costs accuracy: `search` says where it may be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnx2mvit.deployment.candidates import Operator
from onnx2mvit.deployment.interface import Interface
from onnx2mvit.deployment.litert_graph import (
    as_quantized,
    constants,
    has_bias,
    multiplications,
    named_operators,
    read_model,
    values,
)
from onnx2mvit.deployment.rounding import STEPS, Kernel, with_kernels
from onnx2mvit.runtimes import Inputs, LiteRTRunner, Outputs

Array = np.ndarray[Any, Any]
Ranges = dict[str, dict[str, Array]]
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
BETWEEN = ("ADD", "CONCATENATION", "HARD_SWISH", "LOGISTIC", "MUL", "PAD")
SAMPLED = 4096  # numbers of each tensor and image
BIAS = 2**29  # steps that a bias may have, of 2**31 that it can
SHRUNK = np.linspace(1, 0.2, 9)  # ranges that are tried, as shares of the extremes


def static_operators(content: bytes) -> list[Operator]:
    """The convolutions of a LiteRT file, and the operators between them that work on images.

    What a convolution reads or writes is an image, and what is made of images alone is one.
    Transformers are left out by that: their tensors are reshaped before.
    """
    model, found = read_model(content), []
    for graph in model.subgraphs:
        named, constant = list(named_operators(model, graph)), constants(model, graph)
        images = {
            int(each.inputs[0])
            for kind, each in named
            if kind in CONVOLUTIONS and int(each.inputs[1]) in constant
        }
        for kind, each in named:
            read = {int(index) for index in each.inputs if index >= 0} - constant
            if kind not in (*CONVOLUTIONS, *BETWEEN) or not read <= images:
                continue
            images.update(map(int, each.outputs))
            saved = multiplications(each, graph) if kind == "CONV_2D" else 0
            found.append(as_quantized(kind, each, graph, saved=saved))
    return found


def activation_ranges(content: bytes, interface: Interface, inputs: Inputs) -> Ranges:
    """Minimum and maximum of each activation of a float32 LiteRT file, by name, for the quantizer.

    They are those of which int8 has the least square error on a sample of these inputs. Weights
    have none: with one, the quantizer gives them one scale in place of one for each channel.
    """
    runner, model = LiteRTRunner(content, keep_tensors=True), read_model(content)
    weights = {
        graph.tensors[index].name.decode()
        for graph in model.subgraphs
        for index in constants(model, graph)
    }
    seen: dict[str, list[Array]] = {}

    def watched(inputs: Inputs) -> Outputs:
        answers = runner(inputs)
        for name, array in runner.tensors():
            if name in weights:
                continue
            values = array.reshape(-1)
            picked = np.random.default_rng(0).permutation(values.size)[:SAMPLED]
            ends = [values.min(), values.max()]
            seen.setdefault(name, []).append(np.concatenate([ends, values[picked]]))
        return answers

    interface.run(watched, inputs)
    ranges = {name: _least_square(np.concatenate(arrays)) for name, arrays in seen.items()}
    return {
        name: {"min": np.array([low], np.float32), "max": np.array([high], np.float32)}
        for name, (low, high) in ranges.items()
    }


def with_room_for_biases(content: bytes, static: Sequence[Operator], ranges: Ranges) -> bytes:
    """A float32 LiteRT file in which the biases of static operators are within 32 bits.

    The step of a bias is that of the numbers read times that of its filter's weights. A filter that
    died in training has weights next to nothing, so that its bias, which is all that it gives, has
    more steps than 32 bits count, and the quantizer turns it over to the other sign. One weight of
    such a filter is raised, by what gives less than a ten-thousandth of the bias.

    Args:
        content: the file.
        static: its static operators.
        ranges: of its activations.
    """
    model, scopes = read_model(content), {each.scope for each in static}
    kernels = dict[str, Kernel]()
    for graph in model.subgraphs:
        for kind, each in named_operators(model, graph):
            read = ranges.get(graph.tensors[each.inputs[0]].name.decode())
            scope = as_quantized(kind, each, graph).scope
            if kind not in CONVOLUTIONS or scope not in scopes or not has_bias(each) or not read:
                continue
            bias = values(model, graph, each.inputs[2])
            axis = 0 if kind == "CONV_2D" else -1
            filters = np.moveaxis(values(model, graph, each.inputs[1]), axis, 0)
            step = float(read["max"][0] - read["min"][0]) / 255 or math.inf
            least = np.abs(bias) * STEPS / (BIAS * step)
            dead = np.abs(filters).max((1, 2, 3)) < least
            if dead.any():
                filters[dead, 0, 0, 0] = least[dead]
                kernels[scope] = Kernel(np.moveaxis(filters, 0, axis), None)
    return with_kernels(content, kernels, kernels) if kernels else content


def _least_square(values: Array) -> tuple[float, float]:
    """The range, 0 in it, in which 256 steps are nearest to these numbers.

    The upper end is drawn in, or both: what SiLU gives reaches far to one side alone.
    """
    lowest, highest = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    best, error = (lowest, highest), math.inf
    for share in SHRUNK:
        for low, high in ((lowest, highest * share), (lowest * share, highest * share)):
            step = (high - low) / 255
            if not step > 0:
                continue
            zero = round(-low / step)
            rounded = (np.clip(np.round(values / step) + zero, 0, 255) - zero) * step
            found = float(np.square(rounded - values, dtype=np.float64).mean())
            if found < error:
                best, error = (low, high), found
    return best
