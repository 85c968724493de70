"""The floor below the patterns: what none of them took becomes single operators.

Every node that is left is given to the converter of its operator. On the way the order of the
axes of every tensor is followed, so that data is moved only where an operator needs it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from onnx2mvit.base.quiet import one_line
from onnx2mvit.errors import MALFORMED
from onnx2mvit.ir.block import Block
from onnx2mvit.ir.graph import Graph, Node, Value
from onnx2mvit.ir.layout import Order, Place, plain
from onnx2mvit.lowering.operators import Code, MixesBatch, Step, converter_for
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Mismatch, Ops, Pattern, Var, require


class SingleOperator(Pattern):
    """Stands for a pattern where a block is one operator that no pattern took."""

    layer = ""

    def __init__(self, op: str) -> None:
        self.op = op
        super().__init__()

    @property
    def kind(self) -> str:
        """The ONNX operator."""
        return self.op

    def onnx(self, op: Ops, x: Var) -> Expr:
        """Nothing: it is not looked for."""
        return x

    def params(self, m: Match) -> dict[str, Any]:
        """Nothing: they are in its code."""
        return {}


@dataclass
class Lowered:
    """What became of a graph.

    `places` has every tensor between blocks, `blocks` those that are single operators, `refused`
    why a node cannot be one. `batch` is the number of images if it is fixed, because they see
    each other.
    """

    places: dict[Value, Place] = field(default_factory=dict)
    blocks: dict[Node, Block] = field(default_factory=dict)
    refused: dict[Node, str] = field(default_factory=dict)
    mixes: bool = False
    batch: int | None = None


def lower(graph: Graph, batch_axis: int | None = 0) -> Lowered:
    """Makes a single operator of every node that no pattern took, if there is a converter for it.

    The images of a batch, which is in `batch_axis` of every input, are kept apart. Only where a
    file for one size of batch mixes them is the batch of the model fixed to that size; None for
    the axis fixes it from the outset.
    """
    lowered = _lower(graph, batch_axis)
    if lowered.mixes and not graph.source.dynamic_batch:
        lowered, batch_axis = _lower(graph, None), None
    if batch_axis is None:
        lowered.batch = (graph.inputs[0].shape or (None,))[0]
    return lowered


def _lower(graph: Graph, batch_axis: int | None) -> Lowered:
    lowered = Lowered()
    trace_batch = graph.inputs[0].shape[0] if graph.inputs and graph.inputs[0].shape else None
    for value in graph.inputs:
        lowered.places[value] = Place(input_order(value), batch_axis)
    for node in graph:
        if node.block is not None:
            order = given_order(node.block, lowered.places)
            lowered.places[node.output] = Place(order, batch_axis)
            continue
        try:
            code = _code(graph, node, lowered.places, trace_batch)
        except Mismatch as why:
            lowered.refused[node] = str(why)
            lowered.mixes |= isinstance(why, MixesBatch)
            for output in node.outputs:
                rank = len(output.shape or ())
                lowered.places[output] = Place(plain(rank), batch_axis if rank else None)
        else:
            lowered.blocks[node] = _block(node, code)
            lowered.places[node.output] = Place(code.order, code.batch)
    return lowered


def _code(graph: Graph, node: Node, places: dict[Value, Place], trace_batch: int | None) -> Code:
    converter = converter_for(node.op, graph.source.opset)
    if isinstance(converter, str):
        raise Mismatch(converter)
    for output in node.outputs[1:]:
        unused = not graph.consumers(output) and not graph.is_output(output)
        require(unused, f"{node.op}: its further output {output.name!r} is used")
    try:
        return converter(Step(node, places, trace_batch))
    except MALFORMED as error:  # such as an axis that the tensor does not have
        raise Mismatch(
            f"its inputs and attributes do not fit together ({one_line(error)})"
        ) from error


def _block(node: Node, code: Code) -> Block:
    return Block(
        pattern=SingleOperator(node.op),
        params={key: value for key, value in node.attrs.items() if _is_plain(value)},
        inputs=tuple(dict.fromkeys(value for value, _ in code.inputs)),
        output=node.output,
        matched=(node,),
        weights=code.weights,
        code=code,
    )


def _is_plain(value: object) -> bool:
    parts = value if isinstance(value, tuple) else (value,)
    return all(isinstance(part, int | float | str) for part in parts)


def input_order(value: Value) -> Order:
    """Images are taken as NHWC, anything else as it is."""
    return Pattern.order(len(value.shape or ()))


def given_order(block: Block, places: dict[Value, Place]) -> Order:
    """The order of what a recognised block gives."""
    rank = len(block.output.shape or ())
    return taken_order(block, block.output, places) if rank else ()


def wanted_orders(block: Block, places: dict[Value, Place]) -> list[tuple[Value, Order]]:
    """What a block or a single operator takes, each in the order of axes that it needs."""
    if block.code is not None:
        return list(block.code.inputs)
    return [(value, taken_order(block, value, places)) for value in block.inputs]


def taken_order(block: Block, value: Value, places: dict[Value, Place]) -> Order:
    """The order in which a recognised block takes a tensor."""
    rank = len(value.shape or ())
    if block.pattern.any_order:
        return places[block.inputs[0]].order
    return block.pattern.order(rank)
