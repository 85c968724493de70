"""What a small file may grow to: checked before there is an array or a node of that size."""

from __future__ import annotations

import graphlib
import math
from collections.abc import Sequence

import onnx_ir as ir
from onnx_ir.traversal import RecursiveGraphIterator

from onnx2mvit.errors import InvalidModelError, UnsupportedError
from onnx2mvit.ir.graph import Graph, Node, Value

Dims = Sequence[int | ir.SymbolicDim]

MOST_NODES = 100_000  # that a file may have, or that its local functions may expand to
MOST_WORK = 1 << 32  # operations on numbers in all constant expressions of a file: seconds
# Bytes that they may become, beside four times those of the constants in the file: ConViT makes
# about 250 million of its relative positions.
MOST_MADE = 3 << 26
MOST_LOOPS = 1 << 33  # nanoseconds in the loops of onnx's reference implementation
LARGEST_TENSOR = 1 << 25  # elements of what is computed for the images that are compared,
GROWTH = 1 << 7  # or for each element of the inputs, if that is more

HELD = 4  # so many times the largest tensor may have to be kept at a time
MOST_AXES = 64  # of a tensor in numpy
VIEWS = ("Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")  # of what is there already
WINDOWS = ("MaxPool", "AveragePool", "LpPool", "LRN")
# Their output may be of any size, and where it is not known before, it is not made.
GROWING = frozenset(
    (
        *("CenterCropPad", "Col2Im", "ConstantOfShape", "ConvTranspose", "Expand", "EyeLike"),
        *("GridSample", "MaxUnpool", "OneHot", "Pad", "Range", "Resize", "RoiAlign", "Tile"),
        *("Upsample", "AffineGrid", "BlackmanWindow", "HannWindow", "HammingWindow", "DFT"),
        *("MelWeightMatrix", "STFT", "SequenceConstruct", "ConcatFromSequence"),
    )
)
# What onnx's reference implementation, which folds, goes through in Python or copies again and
# again: about so many nanoseconds for each operation (onnx 1.23.2).
LOOPS = {"GridSample": 500_000, "Col2Im": 8_000, "ConvTranspose": 600, "Conv": 6}
LOOPS |= dict.fromkeys(("DeformConv", "RoiAlign", "LSTM", "GRU", "RNN"), 50_000)
LOOPS |= dict.fromkeys(("MaxPool", "AveragePool", "LpPool", "MaxUnpool"), 4_000)
LOOPS |= dict.fromkeys(("NonMaxSuppression", "TfIdfVectorizer"), 4_000)
LOOPS |= dict.fromkeys(("StringNormalizer", "StringSplit"), 4_000)
LOOPS |= dict.fromkeys(("Resize", "Erf", "Cast", "CastLike", "Unique", "Pow"), 100)


def refuse_expansion(model: ir.Model, file: str) -> None:
    """Raises UnsupportedError if calls of local functions multiply to too many operators.

    Raises InvalidModelError if they go round: ONNX's checker looks from IR version 8 on alone.
    """
    sizes: dict[ir.OperatorIdentifier, int] = {}
    calls = {
        name: {node.op_identifier() for node in RecursiveGraphIterator(function)}
        & model.functions.keys()
        for name, function in model.functions.items()
    }

    def size(nodes: ir.Function | ir.Graph) -> int:
        return sum(sizes.get(node.op_identifier(), 1) for node in RecursiveGraphIterator(nodes))

    try:
        order = list(graphlib.TopologicalSorter(calls).static_order())
    except graphlib.CycleError as error:
        ring = ", ".join(sorted(f"{domain}::{name}" for domain, name, _ in error.args[1][1:]))
        raise InvalidModelError(
            f"{file} has local functions that call each other without end: {ring}"
        ) from error
    for name in order:
        sizes[name] = min(size(model.functions[name]), MOST_NODES + 1)
    refuse_many(size(model.graph), file)


def refuse_many(nodes: int, file: str) -> None:
    """Raises UnsupportedError for a graph of too many nodes."""
    if nodes > MOST_NODES:
        raise UnsupportedError(
            f"{file} has more than {MOST_NODES:,} nodes, those of its local functions included"
        )


def refuse_large(node: ir.Node, given: int) -> None:
    """Raises UnsupportedError for a node that takes too much for the images that are compared.

    `given` is how many elements the inputs of the network have.
    """
    most = max(LARGEST_TENSOR, GROWTH * given)
    for value in node.outputs:
        if value.shape is not None:
            _refuse_larger(value.name, value.shape.dims, most)
    image = node.inputs[0] if node.inputs else None
    if image is not None and image.shape is not None:
        dims: Dims = image.shape.dims
        if "pads" in node.attributes or node.op_type == "LRN":
            dims = [dim + more for dim, more in zip(dims, _padding(node, len(dims)), strict=True)]
        _refuse_larger(image.name, dims, most)
    if node.op_type in WINDOWS:
        operations = _operations(node, sum(_elements(value) or 0 for value in node.outputs))
        if operations > MOST_WORK:
            raise UnsupportedError(
                f"node {node.name or node.outputs[0].name!r} ({node.op_type}) goes through windows "
                f"of {operations:,} elements in all, too many for the images that are compared"
            )


def _refuse_larger(name: str | None, dims: Dims, most: int) -> None:
    size = 1
    for dim in dims:
        if isinstance(dim, int):
            size *= dim
    if size > most:
        raise UnsupportedError(
            f"tensor {name!r} is {list(dims)}, too large to be computed for the images that are "
            "compared. Ask for a smaller size, or export the network at one."
        )


def refuse_held(graph: Graph, given: int) -> None:
    """Raises UnsupportedError if too much is still to be read at one time; `given` as before."""
    nodes, held, most = list(graph), 0, HELD * max(LARGEST_TENSOR, GROWTH * given)
    last: dict[Value | None, Node | None]
    last = {value: node for node in nodes for value in node.inputs}
    last |= dict.fromkeys(graph.outputs, None)  # nobody is done with them
    alive: dict[Value | None, int] = {}
    for node in nodes:
        for value in node.outputs:
            alive[value] = 0 if value.shape is None else math.prod(value.shape)
            held += alive[value]
        if held > most:
            raise UnsupportedError(
                f"at node {node.name or node.output.name!r} ({node.op}) {held:,} numbers are still "
                "to be read, too many for the images that are compared. Ask for a smaller size, or "
                "export the network at one."
            )
        for each in (*node.inputs, *node.outputs):
            if last.get(each, node) is node:
                held -= alive.pop(each, 0)


def _padding(node: ir.Node, rank: int) -> list[int]:
    """By how much a node lengthens the axes of an image before it goes through windows."""
    pads, added = node.attributes.get_ints("pads", ()), [0] * rank
    if node.op_type == "LRN":
        added[1] = node.attributes.get_int("size", 1) - 1
    elif len(pads) == 2 * (rank - 2):
        added[2:] = map(sum, zip(pads[: rank - 2], pads[rank - 2 :], strict=True))
    return added


class Budget:
    """What the constant expressions of a file may take, all of them together."""

    def __init__(self, model: ir.Model) -> None:
        constants = [value.const_value for value in model.graph.initializers.values()]
        self.made = MOST_MADE + 4 * sum(each.nbytes for each in constants if each is not None)
        self.work, self.loops = MOST_WORK, MOST_LOOPS

    def allows(self, node: ir.Node) -> bool:
        """True if a node whose inputs are constants may be computed; it is counted.

        Raises:
            UnsupportedError: it is too much, for whoever computes it.
        """
        if node.op_type == "Unsqueeze" and _unsqueezed(node) > MOST_AXES:
            # numpy looks for each axis among all of those that are new
            raise UnsupportedError(
                f"node {node.name or node.outputs[0].name!r} (Unsqueeze) makes a constant of "
                f"more than {MOST_AXES} axes"
            )
        given = sum(_elements(value) or 0 for value in node.inputs if value is not None)
        made = [_elements(value) for value in node.outputs]
        if node.op_type == "NonZero" and node.inputs[0] is not None:
            made = [given * len(node.inputs[0].shape or ())]
        elif None in made:
            if node.op_type in GROWING:
                return False
            made = [given]
        elements = sum(each or 0 for each in made)
        operations = max(given + elements, _operations(node, elements))
        size = max((value.dtype or ir.DataType.INT64).itemsize for value in node.outputs)
        self.made -= 0 if node.op_type in VIEWS else math.ceil(elements * size)
        self.work -= operations
        self.loops -= operations * LOOPS.get(node.op_type, 0)
        if min(self.made, self.work, self.loops) < 0:
            name = node.name or node.outputs[0].name
            raise UnsupportedError(
                f"the constants of the file are too large to be computed, at node {name!r} "
                f"({node.op_type}, {elements:,} elements by {operations:,} operations): export it "
                "with its constants folded"
            )
        return True


def _elements(value: ir.Value) -> int | None:
    """How many elements a tensor has; None where that is not known."""
    if value.const_value is not None:
        return value.const_value.size
    if value.shape is None or not value.shape.is_static():
        return None
    return math.prod(value.shape.numpy())


def _unsqueezed(node: ir.Node) -> int:
    """How many axes an Unsqueeze adds; ONNX before operator version 13 has them as an attribute."""
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        return _elements(node.inputs[1]) or 0
    return len(node.attributes.get_ints("axes", ()))


def _operations(node: ir.Node, made: int) -> int:
    """How many products a node adds up, of which it makes so many elements."""
    shapes = [() if value is None or value.shape is None else value.shape for value in node.inputs]
    sizes = [[dim if isinstance(dim, int) else 1 for dim in shape] for shape in shapes]
    match node.op_type:
        case "MatMul" | "MatMulInteger" | "QLinearMatMul" | "Gemm":
            return made * sizes[0][0 if node.attributes.get_int("transA", 0) else -1]
        case "Conv" | "ConvInteger":
            return made * math.prod(sizes[1][1:])
        case "ConvTranspose":
            return math.prod(sizes[0]) * math.prod(sizes[1][1:])
        case "MaxPool" | "AveragePool" | "LpPool":
            # Runtimes cut a window off at the image: EfficientNet's last is of 1280×1280.
            pads = _padding(node, len(sizes[0]))[2:]
            image = [length + pad for length, pad in zip(sizes[0][2:], pads, strict=True)]
            kernel = node.attributes.get_ints("kernel_shape", ())
            return made * math.prod(map(min, kernel, image) if image else kernel)
        case "LRN":  # onnxruntime goes through all of its window, beyond the channels too
            return made * node.attributes.get_int("size", 1)
        case "Einsum":
            return _indices(node.attributes.get_string("equation", ""), sizes)
    return 0


def _indices(equation: str, sizes: list[list[int]]) -> int:
    """How many combinations of indices an Einsum goes through."""
    lengths: dict[str, int] = {}
    operands = equation.replace(" ", "").partition("->")[0].split(",")
    for operand, dims in zip(operands, sizes, strict=True):
        before, dots, after = operand.partition("...")
        names = [*before, *(f"{dots}{n}" for n in range(len(dims) - len(before + after))), *after]
        for name, length in zip(names, dims, strict=True):
            lengths[name] = max(length, lengths.get(name, 1))
    return math.prod(lengths.values())
