"""int8 for LiteRT: which operators take it; `choice` says which blocks are left out of it.

Convolutions and linear layers get int8 weights, one scale for each output channel; their inputs
are quantized when the file runs, with a scale for each image. SiLU, layer normalization, softmax
and depthwise convolutions stay in float32, as XNNPACK has no kernel for them that would pay between
activations in float32. Where a target allows it, blocks are static (`static_int8`);
with images of the user's own kernels are rounded by what they read (`rounding`). What else was
tried is in docs/int8.md.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from onnx2mvit.base.optional import optional
from onnx2mvit.base.quiet import quiet
from onnx2mvit.deployment.candidates import Candidates, Operator, by_block, split
from onnx2mvit.deployment.choice import Choice, Progress, Wanted, chosen
from onnx2mvit.deployment.interface import Interface
from onnx2mvit.deployment.litert_graph import (
    as_quantized,
    constants,
    multiplications,
    named_operators,
    read_model,
    size,
)
from onnx2mvit.deployment.rounding import Kernel, rounded_kernels, with_kernels
from onnx2mvit.deployment.static_int8 import (
    Ranges,
    activation_ranges,
    static_operators,
    with_room_for_biases,
)
from onnx2mvit.runtimes import Inputs, LiteRTRunner, Runner

TAKEN = ("CONV_2D", "FULLY_CONNECTED")
READING = 60  # multiplications that int8 saves as much by as rounding one number read costs


def quantize(
    content: bytes,
    blocks: Sequence[str],
    interface: Interface,
    inputs: Inputs,
    progress: Progress,
    wanted: Wanted,
) -> tuple[bytes, Choice]:
    """A float32 LiteRT file in int8, and which of its blocks are so.

    Args:
        content: the file.
        blocks: the names of layers whose losses are told apart.
        interface: what the file takes and gives.
        inputs: by name, on which losses are measured; without a target weights are rounded by those
            beyond the first FEW, if there are more.
        progress: is told how many blocks have been tried.
        wanted: what says which blocks stay in float32.

    Raises:
        MissingDependencyError: ai-edge-quantizer is not installed.
        UnsupportedError: nothing in the network can be in int8.
        UsageError: a block that is to stay in float32 is not there, or all are.
    """
    groups, static = by_block(quantizable(content), blocks), dict[str, list[Operator]]()
    few, others = split(interface, inputs, wanted.agreement is not None)
    ranges, kernels = Ranges(), dict[str, Kernel]()
    if wanted.agreement is not None:
        able = by_block(static_operators(content), blocks)
        static = {block: able[block] for block in groups if block in able}
        ranges = activation_ranges(content, interface, few)
    if wanted.rounded:
        fitted = others if wanted.agreement is None else few  # the others decide what is promised
        kernels = rounded_kernels(content, interface, fitted)

    def file(members: Sequence[Operator], fixed: Sequence[Operator]) -> bytes:
        rounded = with_kernels(content, kernels, {each.scope for each in (*members, *fixed)})
        return quantized_file(rounded, members, fixed, ranges)

    def quantized(members: Sequence[Operator], fixed: Sequence[Operator]) -> Runner:
        return LiteRTRunner(file(members, fixed))

    nets = Candidates(interface, groups, quantized, static)
    choice = chosen(nets, few, others, progress, wanted)
    return file(choice.members, choice.static), choice


def quantizable(content: bytes) -> list[Operator]:
    """The operators of a kind in TAKEN that have constant weights.

    What one saves is told in multiplications, and may be less than nothing.
    """
    model, found = read_model(content), []
    for graph in model.subgraphs:
        constant = constants(model, graph)
        for kind, each in named_operators(model, graph):
            if kind in TAKEN and int(each.inputs[1]) in constant:
                weights, read = (size(graph, each.inputs[index]) for index in (1, 0))
                saved = multiplications(each, graph) - READING * read
                found.append(as_quantized(kind, each, graph, weights, saved))
    return found


def quantized_file(
    content: bytes,
    members: Sequence[Operator],
    static: Sequence[Operator] = (),
    ranges: Ranges | None = None,
) -> bytes:
    """A float32 LiteRT file with these operators of it in int8.

    Args:
        content: the file.
        members: operators that are to be dynamic.
        static: operators that are to be static.
        ranges: of all tensors, where there are any of the latter.
    """
    if not members and not static:
        return content
    quantizer = optional("ai_edge_quantizer.quantizer")
    kinds = optional("ai_edge_quantizer.qtyping").TFLOperationName
    if static:
        content = with_room_for_biases(content, static, ranges or {})
    with quiet():
        work = quantizer.Quantizer(bytearray(content))
        for member in members:
            work.add_dynamic_config(f"^{re.escape(member.scope)}$", kinds(member.kind), 8)
        for member in static:
            work.add_static_config(f"^{re.escape(member.scope)}$", kinds(member.kind), 8, 8)
        told = dict(ranges or {}) if static else None
        made = work.quantize(told, enable_progress_report=False, enable_progress_bar=False)
    return bytes(made.quantized_model)
