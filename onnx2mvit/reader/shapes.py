"""Shapes become concrete: folding needs a number for the batch, the height and the width."""

from __future__ import annotations

import math
from pathlib import Path

import onnx_ir as ir

from onnx2mvit.errors import InvalidModelError, UnsupportedError
from onnx2mvit.reader.precision import FLOATS

# A batch that no other dimension is likely to equal, so that a Reshape that mixes the batch into
# something else is not mistaken for one that does not.
TRACE_BATCH = 3
TRACE_SIZE = 256
LARGEST_IMAGES = 1 << 28


def data_inputs(model: ir.Model) -> list[ir.Value]:
    """The inputs that are not weights as well."""
    return [value for value in model.graph.inputs if value.name not in model.graph.initializers]


def is_dynamic(model: ir.Model, axes: slice) -> bool:
    """True if an input leaves one of these axes open."""
    shapes = [value.shape for value in data_inputs(model) if value.shape is not None]
    return any(not isinstance(dim, int) for shape in shapes for dim in shape.dims[axes])


def make_concrete(model: ir.Model, path: Path, size: tuple[int, int] | None = None) -> None:
    """Gives the image `TRACE_BATCH`, and this height and width, where the file leaves them open.

    Raises:
        InvalidModelError: its shape is none, or there are no outputs.
        UnsupportedError: there is not one image of floats, or it is too large.
    """
    inputs = data_inputs(model)
    if len(inputs) != 1:
        names = ", ".join(repr(value.name) for value in inputs) or "none"
        raise UnsupportedError(f"{path} has {len(inputs)} inputs ({names}); exactly one is needed")
    (value,) = inputs
    if value.type is not None and not isinstance(value.type, ir.TensorType):
        raise UnsupportedError(f"input {value.name!r} is {value.type}, not a tensor of images")
    if value.dtype not in FLOATS:
        raise UnsupportedError(f"input {value.name!r} is {value.dtype}, not of floats")
    if value.shape is None or len(value.shape) != 4:
        shape = " ".join(str(value.shape).split())  # lengths have names, of the file
        raise UnsupportedError(f"input {value.name!r} is {shape}, not an image [N, C, H, W]")
    batch, channels, *declared = value.shape
    wanted = size or (TRACE_SIZE, TRACE_SIZE)
    lengths = [
        batch if isinstance(batch, int) else TRACE_BATCH,
        channels if isinstance(channels, int) else _channels(value),
        *(
            length if isinstance(length, int) else instead
            for length, instead in zip(declared, wanted, strict=True)
        ),
    ]
    if min(lengths) < 1:
        raise InvalidModelError(f"input {value.name!r} has a dimension below one: {lengths}")
    if math.prod(lengths) > LARGEST_IMAGES:
        raise UnsupportedError(f"input {value.name!r} is {lengths}, too large to be compared on")
    if not model.graph.outputs:
        raise InvalidModelError(f"{path} has no outputs")
    value.shape = ir.Shape(lengths)


def _channels(value: ir.Value) -> int:
    """How many channels an image has, by the convolution that reads it."""
    for node in value.consumers():
        weight = node.inputs[1] if node.op_type == "Conv" and len(node.inputs) > 1 else None
        shape = weight.shape if weight is not None else None
        if shape is not None and len(shape) == 4 and isinstance(shape[1], int):
            return shape[1] * node.attributes.get_int("group", 1)
    raise UnsupportedError(
        f"input {value.name!r} has a dynamic number of channels, and no convolution reads it"
    )


def forget_shapes(model: ir.Model) -> None:
    """What the exporter declared holds for its own batch and size alone: it is inferred anew."""
    for node in model.graph.all_nodes():
        for output in node.outputs:
            output.shape = None
    for output in model.graph.outputs:
        if output not in model.graph.inputs:
            output.shape = None
