"""Which axes of a tensor go with the height and the width of the image.

They are followed node by node in the file's own order of axes, through blocks as well. Whatever
has the length of such an axis in it holds for one size alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from onnx2mvit.ir.block import Block, onnx_nodes_of
from onnx2mvit.ir.graph import Graph, Node, Value
from onnx2mvit.ir.layout import Axes as Named
from onnx2mvit.ir.layout import Shape
from onnx2mvit.lowering.axes import REDUCING, reduced_axes, same_axes

Axes = frozenset[int]
Part = tuple[int, bool]  # a factor of an axis's length, and whether it goes with the image's
NONE: Axes = frozenset()
RECURRENT = ("LSTM", "GRU", "RNN")
NORMALIZATIONS = ("BatchNormalization", "InstanceNormalization", "GroupNormalization")
# What has a number for each place, or one for all, and a Concat, which has so beside its axis.
ELEMENTWISE = frozenset(
    {
        *("Add", "Sub", "Mul", "Div", "Pow", "Mod", "Min", "Max", "Sum", "Mean", "Where", "PRelu"),
        *("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor"),
        "Concat",
    }
)


class Varying(dict[Value, Axes]):
    """The axes of every computed value that do, none of them being left out.

    `traced` are the nodes of which a rule says that they hold for the length of theirs alone.
    `parts` are the lengths that an axis is the product of, where a Reshape has joined some: on its
    way through them (MobileViT's patches) an axis of channels stays one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.traced: set[Node] = set()
        self.parts: dict[Value, list[list[Part]]] = {}

    def __missing__(self, value: Value) -> Axes:
        return NONE

    def parts_of(self, value: Value) -> list[list[Part]]:
        """Those of every axis; lengths of one are left out."""
        axes = enumerate(value.shape or ())
        own = [[(length, axis in self[value])] if length > 1 else [] for axis, length in axes]
        return self.parts.get(value, own)

    def lengths_of(self, value: Value) -> Shape:
        """The lengths of a value along its axes that do."""
        return tuple((value.shape or ())[axis] for axis in self[value])

    @cached_property
    def lengths(self) -> frozenset[int]:
        """The lengths that such axes have at the traced size."""
        return frozenset(
            (value.shape or ())[axis] for value, axes in self.items() for axis in axes
        ) - {1}


def varying_axes(graph: Graph, named: Mapping[Value, Named]) -> Varying:
    """Follows them through a graph.

    Args:
        graph: of blocks and nodes.
        named: what the axes of its inputs are.
    """
    found = Varying()
    for value in graph.inputs:
        names = enumerate(named.get(value, ()))
        found[value] = frozenset(axis for axis, name in names if name in ("height", "width"))
    for node in graph:
        for each in onnx_nodes_of(node):
            axes = _varying(each, found)
            read = next(iter(each.inputs), None)
            if each.attrs.get("traced") and read is not None and found[read]:
                found.traced.add(each)
            found[each.output] = axes
            for value in each.outputs[1:]:  # they may have fewer axes, as a mean has
                found[value] = axes & {*range(len(value.shape or ()))}
            if each.op in RECURRENT:  # a state is that of one step
                found.update(dict.fromkeys(each.outputs[1:], NONE))
        if isinstance(node, Block) and not node.pattern.is_leaf:
            # On its way images may be cut to pieces; it gives an image, or tokens, or a vector.
            order = node.pattern.gives(len(node.output.shape or ()))
            found[node.output] &= {*order[1:-1]}
    return found


def _varying(node: Node, found: Varying) -> Axes:
    """Of the outputs of a node; of what is not known, all axes but the first."""
    inputs = [(value, found.get(value, NONE)) for value in node.inputs if value is not None]
    shapes = (node.output.shape, *(value.shape for value, _ in inputs))
    if not any(axes for _, axes in inputs) or None in shapes:
        return NONE
    rank = len(node.output.shape or ())
    value, axes = inputs[0]
    own, attrs = len(value.shape or ()), node.attrs
    everything = frozenset(range(1, rank))
    match node.op:
        case "Transpose":
            perm = attrs.get("perm") or tuple(reversed(range(own)))
            found.parts[node.output] = [found.parts_of(value)[axis] for axis in perm]
            return _moved(node, inputs)
        case "Gather" | "Select" | "OneHot" | "AffineGrid":
            return _moved(node, inputs)
        case "Reshape":
            joined = [part for parts in found.parts_of(value) for part in parts]
            made = list(_divided(joined, node.output.shape or ()))
            if len(made) != rank:
                return everything
            found.parts[node.output] = made
            return frozenset(axis for axis, parts in enumerate(made) if any(v for _, v in parts))
        case "MatMul":
            return _of_product(inputs, rank)
        case "Einsum" if "." not in attrs["equation"] and "->" in attrs["equation"]:
            return _moved(node, inputs)
        case op if op in RECURRENT:
            return axes - {own - 1}
        case "GridSample":
            return frozenset(at + 1 for at in inputs[1][1] & {1, 2})
        case "TopK":
            return axes - {attrs.get("axis", -1) % own}
        case "ScatterND" | "ScatterElements" if value.const is None:
            return axes
        case "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool":
            return axes & {0, 1}
    if node.op.startswith(REDUCING):
        return axes - {*reduced_axes(node, own)} if rank == own else _moved(node, inputs)
    if rank < max(len(each.shape or ()) for each, _ in inputs) or node.op == "Einsum":
        return everything
    return frozenset(at + rank - len(each.shape or ()) for each, its in inputs for at in its)


def _divided(parts: list[Part], shape: Shape) -> Iterator[list[Part]]:
    """The parts of each axis of a shape, as far as they can be told."""
    left = parts[::-1]
    for length in shape:
        taken: list[Part] = []
        while length > 1:
            part, varies = left.pop()
            if length % part and part % length:
                return
            if part > length:  # it is cut in two, of which either may be what goes with the image
                left.append((part // length, varies))
                part = length
            taken.append((part, varies))
            length //= part
        yield taken


def held_lengths(nodes: Iterable[Node], varying: Varying) -> Shape:
    """The lengths along axes that go with the image's size, in the first constant that has them."""
    return next((held for node in nodes if (held := _held_by(node, varying))), ())


def _held_by(node: Node, varying: Varying) -> Shape:
    constants = {at: v.const for at, v in enumerate(node.inputs) if v and v.const is not None}
    value = next((v for v in node.inputs if v is not None and v.const is None), None)
    if value is None or not constants:
        return ()
    shape, axes = value.shape or (), varying[value]
    rank, last = len(shape), len(shape) - 1
    read: Iterable[int] = ()
    if node.op in ("MatMul", "Gemm"):
        read = [last if 0 not in constants else last - 1]
    elif node.op == "LayerNormalization":
        read = range(node.attrs.get("axis", -1) % rank, rank)
    elif node.op in ("Conv", "ConvTranspose", *NORMALIZATIONS):
        read = [1]
    elif node.op in ELEMENTWISE:
        made = varying[node.output] - {node.attrs["axis"] if node.op == "Concat" else -1}
        rank = len(node.output.shape or ())
        of_each = (
            tuple(n for at in sorted(made) if at >= rank - c.ndim and (n := c.shape[at - rank]) > 1)
            for c in constants.values()
        )
        return next(filter(None, of_each), ())
    return tuple(shape[axis] for axis in read if axis in axes and shape[axis] > 1)


def _of_product(inputs: list[tuple[Value, Axes]], rank: int) -> Axes:
    """Rows are those of the first matrix, columns those of the second."""
    found = set()
    for index, (value, axes) in enumerate(inputs[:2]):
        own = len(value.shape or ())
        summed = own - 1 if index == 0 else max(own - 2, 0)
        gone = sum(1 for other, _ in inputs[:2] if len(other.shape or ()) == 1)
        found |= {min(at + rank - own + gone * (index == 0), rank - 1) for at in axes - {summed}}
    return frozenset(found)


def _moved(node: Node, inputs: list[tuple[Value, Axes]]) -> Axes:
    """Where the axes of the inputs stand in the output."""
    found = ((axes, *pair) for value, axes in inputs if axes for pair in same_axes(node, value))
    return frozenset(new for axes, old, new in found if old in axes)
