"""int8 for LiteRT: which operators take it, and which blocks are left out of it.

Convolutions and linear layers get int8 weights, one scale for each output channel; their inputs
are quantized when the file runs, with a scale for each image. SiLU, layer normalization, softmax
and depthwise convolutions stay in float32, as XNNPACK has no int8 kernel that would pay for them.
What else was tried is in docs/deploy.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnx2mvit.base.optional import optional
from onnx2mvit.base.quiet import quiet
from onnx2mvit.deployment.interface import Interface
from onnx2mvit.errors import UnsupportedError
from onnx2mvit.runtimes import Inputs, LiteRTRunner, Outputs, compare, sqnr_db
from onnx2mvit.runtimes.comparison import loudness

Progress = Callable[[str, int, int], None]
TAKEN = ("CONV_2D", "FULLY_CONNECTED")
GOAL = 36.0  # dB that the blocks in int8 may lose together
SPENT = 0.05  # of the weights that blocks in float32 may hold: the file stays near a quarter
OTHERS = "(others)"


@dataclass
class Loss:
    """A block, and what the answer loses if it alone is in int8.

    `sqnr_db` is None where nothing is lost; `weights` counts those that can be in int8.
    """

    block: str
    weights: int
    sqnr_db: float | None
    kept_float: bool = False

    @property
    def noise(self) -> float:
        """Its power as a share of the answer's."""
        return 0.0 if self.sqnr_db is None else 10 ** (-self.sqnr_db / 10)

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {
            "block": self.block,
            "weights": self.weights,
            "sqnr_db": self.sqnr_db,
            "precision": "float32" if self.kept_float else "int8",
        }


@dataclass(frozen=True)
class Operator:
    """An operator that can be in int8.

    `scope` is what the quantizer knows it by, the names of its outputs; `origin` adds those of
    its inputs, as an output of the network bears no path of layers. `weights` is their number.
    """

    kind: str
    scope: str
    origin: str
    weights: int


def quantize(
    content: bytes,
    blocks: Sequence[str],
    interface: Interface,
    inputs: Inputs,
    progress: Progress,
) -> tuple[bytes, list[Loss]]:
    """A float32 LiteRT file in int8, and what each block loses by it, worst first.

    `blocks` are names of layers; `inputs` by name tell what is lost.
    Blocks that lose much for few weights stay in float32.

    Raises:
        MissingDependencyError: ai-edge-quantizer is not installed.
        UnsupportedError: nothing in the network can be in int8.
    """
    groups = by_block(_quantizable(content), blocks)

    def answers(members: Sequence[Operator]) -> Outputs:
        made = _quantized(content, members) if members else content
        return interface.run(LiteRTRunner(made), inputs)

    members, losses = chosen(groups, answers, progress)
    return _quantized(content, members), losses


def chosen(
    groups: Mapping[str, Sequence[Operator]],
    answers: Callable[[Sequence[Operator]], Outputs],
    progress: Progress,
) -> tuple[list[Operator], list[Loss]]:
    """What is to be in int8, and what each block loses by that alone, worst first.

    Args:
        groups: the operators of each block.
        answers: what the network answers with these in int8.
        progress: is told how many blocks have been tried.

    Raises:
        UnsupportedError: nothing in the network can be in int8.
    """
    if not groups:
        raise UnsupportedError("no convolution or linear layer here can be in int8")
    right, losses = answers(()), []
    for number, (block, members) in enumerate(groups.items()):
        progress("what each block loses", number, len(groups))
        lost = sqnr_db(compare(answers(members), right, answers=True).values())
        losses.append(Loss(block, sum(member.weights for member in members), lost))
    progress("what each block loses", len(groups), len(groups))
    choose(losses)
    kept = {loss.block for loss in losses if loss.kept_float}
    taken = [one for block, group in groups.items() if block not in kept for one in group]
    return taken, sorted(losses, key=lambda loss: loudness(loss.sqnr_db))


def choose(losses: Sequence[Loss]) -> None:
    """Leaves blocks in float32 until the others together are better than GOAL.

    Those come first that add most noise for their weights; noises of blocks add up in power.
    Only so many are left out that they hold no more than SPENT of the weights.
    """
    allowed = SPENT * sum(loss.weights for loss in losses)
    noise = sum(loss.noise for loss in losses)
    for loss in sorted(losses, key=lambda each: each.noise / max(each.weights, 1), reverse=True):
        if noise <= 10 ** (-GOAL / 10):
            break
        if loss.weights <= allowed:
            loss.kept_float = True
            allowed -= loss.weights
            noise -= loss.noise


def _quantizable(content: bytes) -> list[Operator]:
    """The operators of a kind in TAKEN that have constant weights."""
    tools = optional("ai_edge_litert.tools.flatbuffer_utils")
    scopes = optional("ai_edge_quantizer.utils.tfl_flatbuffer_utils")
    model = tools.read_model_from_bytearray(bytearray(content))
    found = []
    for graph in model.subgraphs:
        for operator in graph.operators:
            kind = tools.opcode_to_name(model, operator.opcodeIndex)
            if kind not in TAKEN:
                continue
            weights = graph.tensors[operator.inputs[1]]
            if model.buffers[weights.buffer].data is not None:
                scope = scopes.get_op_scope(operator, graph.tensors)
                inputs = [graph.tensors[index].name for index in operator.inputs if index >= 0]
                origin = ";".join([scope, *(name.decode() for name in inputs[1:])])
                found.append(Operator(kind, scope, origin, int(np.prod(weights.shape))))
    return found


def by_block(operators: Sequence[Operator], blocks: Sequence[str]) -> dict[str, list[Operator]]:
    """The operators of each block, in the order of the file; an unknown one is in `OTHERS`.

    A scope has the path of layers in which the operator was made, each with a number that Keras
    adds: `net_1/encoder.layer.2_1/conv_1x1_convolution_1/convolution;`.
    """
    patterns = {
        block: re.compile(rf"(^|[/;]){re.escape(block)}(_\d+)?(_[a-z]\w*)?/")
        for block in sorted(blocks, key=len, reverse=True)
    }
    groups: dict[str, list[Operator]] = {}
    for operator in operators:
        block = next(
            (name for name, pattern in patterns.items() if pattern.search(operator.origin)), OTHERS
        )
        groups.setdefault(block, []).append(operator)
    return groups


def _quantized(content: bytes, members: Sequence[Operator]) -> bytes:
    quantizer = optional("ai_edge_quantizer.quantizer")
    kinds = optional("ai_edge_quantizer.qtyping").TFLOperationName
    with quiet():
        work = quantizer.Quantizer(bytearray(content))
        for member in members:
            work.add_dynamic_config(f"^{re.escape(member.scope)}$", kinds(member.kind), 8)
        made = work.quantize(enable_progress_report=False, enable_progress_bar=False)
    return bytes(made.quantized_model)
