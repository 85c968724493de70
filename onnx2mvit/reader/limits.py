"""What a small file may grow to: checked before there is an array or a node of that size."""

from __future__ import annotations

import graphlib
import math
from collections.abc import Sequence

import onnx_ir as ir
from onnx_ir.traversal import RecursiveGraphIterator

from onnx2mvit.errors import InvalidModelError, UnsupportedError

MOST_INLINED = 100_000  # operators that the local functions of a file may expand to
LARGEST_FOLDED = 1 << 28  # bytes of one folded constant
GROWTH = 1 << 22  # bytes that a folded constant may have whatever it is made of
ALL_GROWTH = 1 << 28  # bytes by which all of them together may be larger than what they are made of
LARGEST_TENSOR = 1 << 31  # elements of what is computed for the images that are compared

# Their output may be of any size, and where it is not known before, it is not made.
GROWING = frozenset(
    {
        "CenterCropPad",
        "Col2Im",
        "ConstantOfShape",
        "ConvTranspose",
        "Expand",
        "EyeLike",
        "GridSample",
        "MaxUnpool",
        "OneHot",
        "Pad",
        "Range",
        "Resize",
        "RoiAlign",
        "Tile",
        "Upsample",
        "AffineGrid",
        "BlackmanWindow",
        "HannWindow",
        "HammingWindow",
        "MelWeightMatrix",
        "STFT",
        "DFT",
        "SequenceConstruct",
        "ConcatFromSequence",
    }
)
# They take far more time than their output has elements, and no exporter computes with constants.
SLOW = frozenset(
    {
        "Conv",
        "ConvInteger",
        "ConvTranspose",
        "DeformConv",
        "QLinearConv",
        "AveragePool",
        "MaxPool",
        "LpPool",
        "Einsum",
        "LSTM",
        "GRU",
        "RNN",
        "Resize",
        "Upsample",
        "GridSample",
        "RoiAlign",
        "NonMaxSuppression",
        "Det",
        "Col2Im",
        "DFT",
        "STFT",
        "TfIdfVectorizer",
        "StringNormalizer",
        "RegexFullMatch",
        "MelWeightMatrix",
    }
)
FEW = 1 << 12  # elements on which they are computed all the same


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
        sizes[name] = min(size(model.functions[name]), MOST_INLINED + 1)
    total = size(model.graph)
    if total > max(MOST_INLINED, len(model.graph)):
        raise UnsupportedError(
            f"{file} has local functions that call each other and expand to more than "
            f"{MOST_INLINED:,} operators"
        )


def refuse_large(name: str, shape: tuple[int, ...]) -> None:
    """Raises UnsupportedError for a tensor that is too large to be computed."""
    if math.prod(shape) > LARGEST_TENSOR:
        raise UnsupportedError(
            f"tensor {name!r} is {list(shape)}, too large to be computed for the images that are "
            "compared. Export the network at a smaller size."
        )


class Budget:
    """Decides which nodes are folded, so that time and memory stay in bounds."""

    def __init__(self) -> None:
        self.left = ALL_GROWTH

    def allows(self, node: ir.Node) -> bool:
        """True if the constant that a node would become may be made; it is counted."""
        given = _bytes([value for value in node.inputs if value is not None])
        made = _bytes(node.outputs)
        if given is None or made is None:
            return given is not None and given <= GROWTH and node.op_type not in GROWING
        if node.op_type in SLOW and given + made > 4 * FEW:
            return False
        if made > max(LARGEST_FOLDED, given) or made > given + self.left:
            return False
        if made > given:
            self.left -= made - given
        return True


def _bytes(values: Sequence[ir.Value]) -> int | None:
    """The size of all these tensors; None where one has no known shape."""
    total = 0
    for value in values:
        if value.const_value is not None:
            total += value.const_value.nbytes
        elif value.shape is None or not value.shape.is_static():
            return None
        else:
            size = value.dtype.itemsize if value.dtype is not None else 8
            total += math.ceil(math.prod(value.shape.numpy()) * size)
    return total
