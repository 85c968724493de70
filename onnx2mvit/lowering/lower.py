"""The floor below the patterns: what none of them took becomes single operators.

Every node that is left is given to the converter of its operator. On the way the order of the
axes of every tensor is followed, so that data is moved only where an operator needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from onnx2mvit.base.collector import collector_paused
from onnx2mvit.base.quiet import one_line
from onnx2mvit.errors import MALFORMED
from onnx2mvit.ir.block import Block, BlockType
from onnx2mvit.ir.code import KerasCode
from onnx2mvit.ir.graph import Graph, Node, Value
from onnx2mvit.ir.layout import Axes, Layout, Order, Shape, interface_order, plain
from onnx2mvit.ir.network import Network
from onnx2mvit.lifter import inline_fragments
from onnx2mvit.lifter.naming import named
from onnx2mvit.lowering.axes import named_axes
from onnx2mvit.lowering.operators import MixesBatch, OpContext, converter_for
from onnx2mvit.lowering.varying import Varying, held_lengths, varying_axes
from onnx2mvit.matcher.rooted import Array, Mismatch, require


class SingleOperator(BlockType):
    """The type of a block that is one operator which no pattern took; its code says the rest."""

    layer = ""

    def __init__(self, op: str) -> None:
        self.op = op

    @property
    def kind(self) -> str:
        """The ONNX operator."""
        return self.op


@collector_paused()
def lower(network: Network, batch_axis: int | None = 0) -> Network:
    """Makes a single operator of every node that no pattern took, and follows all layouts.

    Parts of blocks that no block took become operators again, save where the network cannot be
    converted: there they say how far it came.

    The images of a batch, which is in `batch_axis` of every input, are kept apart. Only where a
    file for one size of batch mixes them is the batch of the model fixed to that size; None for
    the axis fixes it from the outset.

    Args:
        network: as it was lifted; it is not changed.
        batch_axis: the ONNX axis of the inputs that holds the batch.

    Returns:
        The network with blocks, layouts and names.
    """
    lowered = _lowered(network, batch_axis)
    if not lowered.refused:
        inlined = inline_fragments(network)
        lowered = lowered if inlined is network else _lowered(inlined, batch_axis)
    blocks = named(lowered.blocks)
    final: dict[Node, Node] = dict(zip(lowered.blocks, blocks, strict=True))
    graph = lowered.graph.with_nodes(final.get(node, node) for node in lowered.graph)
    return replace(lowered, graph=graph, blocks=blocks)


def _lowered(network: Network, batch_axis: int | None) -> Network:
    """The network with blocks and layouts; the batch is fixed where images are mixed."""
    graph = network.graph
    axes = named_axes(graph)
    lowering = _Lowering(graph, batch_axis, axes)
    if lowering.mixes and not graph.source.dynamic_batch:
        lowering, batch_axis = _Lowering(graph, None, axes), None
    return replace(
        network,
        blocks=tuple(lowering.blocks),
        layouts=lowering.layouts,
        axes=axes,
        refused=lowering.refused,
        held=lowering.held,
        batch=graph.batch_size if batch_axis is None else None,
    )


class _Lowering:
    """Goes through a graph from its inputs to its outputs."""

    def __init__(self, graph: Graph, batch_axis: int | None, axes: Mapping[Value, Axes]) -> None:
        self.graph = graph
        self.batch_axis = batch_axis
        self.trace_batch = graph.batch_size
        self.layouts: dict[Value, Layout] = {}
        self.blocks: list[Block] = []
        self.refused: dict[Node, str] = {}
        self.held: dict[Value, Shape] = {}
        self.mixes = False
        self.varying = varying_axes(graph, axes)
        for value in graph.inputs:
            named = axes.get(value, (None,) * len(value.shape or ()))
            batch = None if batch_axis is None else graph.batch_axes[value]
            self.layouts[value] = self.layout(value, interface_order(named, batch), batch)
        for node in graph:
            if isinstance(node, Block):
                self.follow(node)
                self.blocks.append(node)
            else:
                self.convert(node)

    def layout(
        self, value: Value, order: Order, batch: int | None, one_size: bool = False
    ) -> Layout:
        """The layout of a value."""
        return Layout(order, batch, self.varying[value], one_size)

    def follow(self, block: Block, fits: bool = False) -> None:
        """Notes the layouts of what a recognised block, and every block in it, gives.

        `fits` says that one around it sees to the sizes of images.
        """
        for value in block.inputs:  # in a block, an operator between two children has none yet
            if value not in self.layouts:
                order = block.pattern.order(len(value.shape or ()))
                self.layouts[value] = self.layout(value, order, self.batch_axis)
        fits |= block.pattern.windows(block) is not None
        for child in block.children:
            self.follow(child, fits)
        order, batch = block.pattern.gives(len(block.output.shape or ())), self.batch_axis
        if (block.output.shape or (0,))[0] % (self.trace_batch or 1):
            batch = None  # as a parameter's, which is one for all images
        for given in map(self.layouts.get, block.inputs[:1]):
            if given is not None and block.pattern.keeps(given.order):
                order, batch = given.order, given.batch
        children = (child.output for child in block.children)
        one_size = any(self.layouts[value].one_size for value in (*block.inputs, *children))
        own = block.onnx_nodes() if block.pattern.is_leaf else block.matched
        traced = self.varying.traced
        one_size |= bool(traced) and not traced.isdisjoint(block.onnx_nodes())
        held = held_lengths(own, self.varying) if not fits or block.pattern.one_size else ()
        if held:
            self.held[block.output], one_size = held, True
        self.layouts[block.output] = self.layout(block.output, order, batch, one_size)

    def convert(self, node: Node) -> None:
        """Makes a single operator of a node, or notes why it cannot be one."""
        try:
            code = self.code(node)
            if node in self.varying.traced:
                code = replace(code, layout=replace(code.layout, one_size=True))
        except Mismatch as why:
            self.refused[node] = str(why)
            self.mixes |= isinstance(why, MixesBatch)
            for output in node.outputs:
                rank = len(output.shape or ())
                batch = self.batch_axis if rank else None
                self.layouts[output] = self.layout(output, plain(rank), batch)
        else:
            self.blocks.append(_block(node, code, partial(self.weights, node)))
            self.layouts[node.output] = code.layout
            self.layouts.update({result.value: result.layout for result in code.results})

    def code(self, node: Node) -> KerasCode:
        """What a node becomes; raises Mismatch where it cannot become anything."""
        return _code(self.graph, node, self.layouts, self.varying, self.trace_batch)

    def weights(self, node: Node, arrays: Mapping[Value, Array]) -> dict[str, Array]:
        """The weights that a node would have if some constants were other arrays."""
        inputs = (
            value if value is None or value not in arrays else replace(value, const=arrays[value])
            for value in node.inputs
        )
        return self.code(replace(node, inputs=tuple(inputs))).weights


def _code(
    graph: Graph,
    node: Node,
    layouts: Mapping[Value, Layout],
    varying: Varying,
    trace_batch: int | None,
) -> KerasCode:
    constant = node.op == "Constant"  # all others are operands by now
    require(not constant, "it is an output that does not depend on what the input holds")
    converter = converter_for(node.op, graph.source.operators)
    if isinstance(converter, str):
        raise Mismatch(converter)
    op = OpContext(node, graph, layouts, varying, trace_batch)
    try:
        code = converter(op)
    except MALFORMED as error:  # such as an axis that the tensor does not have
        raise Mismatch(
            f"its inputs and attributes do not fit together ({one_line(error)})"
        ) from error
    given = [node.output, *(result.value for result in code.results)]
    for index, output in enumerate(node.outputs):
        known = output in given or not op.is_used(index)
        require(known, f"{node.op}: its further output {output.name!r} is used")
    return code


def _block(
    node: Node,
    code: KerasCode,
    weights_from: Callable[[Mapping[Value, Array]], dict[str, Array]],
) -> Block:
    return Block(
        op=node.op,
        attrs={key: value for key, value in node.attrs.items() if _is_plain(value)},
        pattern=SingleOperator(node.op),
        inputs=tuple(dict.fromkeys(value for value, _ in code.inputs)),
        outputs=node.outputs,
        matched=(node,),
        weights=code.weights,
        weights_from=weights_from,
        position=node.position,
        code=code,
    )


def _is_plain(value: object) -> bool:
    parts = value if isinstance(value, tuple) else (value,)
    return all(isinstance(part, int | float | str) for part in parts)


def wanted_orders(network: Network, block: Block) -> list[tuple[Value, Order]]:
    """What a block at the top takes, each value in the order of axes in which it takes it."""
    if block.code is not None:
        return list(block.code.inputs)
    return [(value, taken_order(block, value, network.layouts)) for value in block.inputs]


def taken_order(block: Block, value: Value, layouts: Mapping[Value, Layout]) -> Order:
    """The order in which a recognised block takes a tensor."""
    first = layouts[block.inputs[0]].order
    return first if block.pattern.keeps(first) else block.pattern.order(len(value.shape or ()))
