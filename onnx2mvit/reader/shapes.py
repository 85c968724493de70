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
TRACE_TOKENS = 16  # a table of positions may have few rows
LARGEST_IMAGES = 1 << 27
OF_BATCH = ("b", "bs", "n")  # what exporters call it, beside all that begins with "batch"
OTHERS = (
    *(ir.DataType.BOOL, ir.DataType.INT8, ir.DataType.INT16, ir.DataType.INT32, ir.DataType.INT64),
    *(ir.DataType.UINT8, ir.DataType.UINT16, ir.DataType.UINT32, ir.DataType.UINT64),
)


def data_inputs(model: ir.Model) -> list[ir.Value]:
    """The inputs that are not weights as well."""
    return [value for value in model.graph.inputs if value.name not in model.graph.initializers]


def batch_axes(model: ir.Model) -> dict[str, int | None]:
    """Which axis of each input holds the batch, by its name; None where it has none.

    It is the axis that is called so, else the first one. Beside inputs that leave their batch
    open, one whose first axis has a length has no batch, and neither has one of another length.
    """
    shapes = {
        value.name or "": value.shape.dims if value.shape is not None else ()
        for value in data_inputs(model)
    }
    axes = {name: _batch_axis(dims) for name, dims in shapes.items()}
    lengths = {name: shapes[name][axis] for name, axis in axes.items() if axis is not None}
    is_open = any(not isinstance(length, int) for length in lengths.values())
    ranks = sorted(lengths, key=lambda name: -len(shapes[name]))
    size = lengths[ranks[0]] if ranks else None  # of the images, if there are some
    for name, length in lengths.items():
        if isinstance(length, int) and (is_open or length != size):
            axes[name] = None
    return axes


def _batch_axis(dims: ir.Shape | tuple[int | ir.SymbolicDim, ...]) -> int | None:
    for axis, dim in enumerate(dims):
        name = "" if isinstance(dim, int) else (dim.value or "").lower()
        if name.startswith("batch") or name in OF_BATCH:
            return axis
    return 0 if len(dims) else None


def channel_axes(model: ir.Model) -> dict[str, int]:
    """Which axis of an input holds channels, by its name, where the file says so in ONNX's words.

    These are the denotations of dimensions, of which few exporters make use.
    """
    return {
        value.name or "": axis
        for value in data_inputs(model)
        if value.shape is not None
        for axis in range(len(value.shape))
        if value.shape.get_denotation(axis) == "DATA_CHANNEL"
    }


def is_dynamic(model: ir.Model, of_batch: bool) -> bool:
    """True if an input leaves its batch open, or another of its axes."""
    batch = batch_axes(model)
    return any(
        not isinstance(dim, int) and (axis == batch[value.name or ""]) is of_batch
        for value in data_inputs(model)
        if value.shape is not None
        for axis, dim in enumerate(value.shape)
    )


def open_axes(model: ir.Model) -> tuple[int, ...]:
    """The axes of the first image that the file leaves open, save for the batch."""
    images = [v for v in data_inputs(model) if v.shape is not None and len(v.shape) == 4]
    if not images or images[0].shape is None:
        return ()
    batch = batch_axes(model)[images[0].name or ""]
    dims = enumerate(images[0].shape)
    return tuple(axis for axis, dim in dims if axis != batch and not isinstance(dim, int))


def make_concrete(
    model: ir.Model, path: Path, size: tuple[int, int] | None = None, images: int = TRACE_BATCH
) -> None:
    """Gives the inputs lengths where the file leaves them open.

    The batch is `images`, height and width of an image are `size`. All else is `TRACE_SIZE`
    too, but for the length of what is integers, which is `TRACE_TOKENS`. Axes of one name have
    one length; "?", as PaddlePaddle writes it, is no name.

    Raises:
        InvalidModelError: a shape is none, or there are no outputs.
        UnsupportedError: there is no input, one is no tensor of numbers, or it is too large.
    """
    inputs, batch = data_inputs(model), batch_axes(model)
    if not inputs:
        raise UnsupportedError(f"{path} has no inputs: it always answers the same")
    if not model.graph.outputs:
        raise InvalidModelError(f"{path} has no outputs")
    known: dict[str, int] = {}
    for value in inputs:
        if value.type is not None and not isinstance(value.type, ir.TensorType):
            raise UnsupportedError(f"input {value.name!r} is {value.type}, not a tensor")
        if value.dtype not in (*FLOATS, *OTHERS):
            raise UnsupportedError(f"input {value.name!r} is {value.dtype}, not of numbers")
        if value.shape is None:
            raise UnsupportedError(f"input {value.name!r} has no shape: export the file again")
        lengths = []
        for axis, dim in enumerate(value.shape):
            length = (
                dim
                if isinstance(dim, int)
                else images
                if axis == batch[value.name or ""]
                else _open_length(value, axis, size or (TRACE_SIZE, TRACE_SIZE))
            )
            name = None if isinstance(dim, int) or dim.value == "?" else dim.value
            lengths.append(known.setdefault(name, length) if name else length)
        if min(lengths, default=1) < 1:
            raise InvalidModelError(f"input {value.name!r} has a dimension below one: {lengths}")
        if math.prod(lengths) > LARGEST_IMAGES:
            raise UnsupportedError(f"input {value.name!r} is {lengths}, too large to compare on")
        value.shape = ir.Shape(lengths)


def _open_length(value: ir.Value, axis: int, size: tuple[int, int]) -> int:
    """The length of an axis that the file leaves open and that is not the batch."""
    assert value.shape is not None and value.dtype is not None
    if len(value.shape) != 4:
        return TRACE_SIZE if value.dtype.is_floating_point() else TRACE_TOKENS
    is_nhwc = isinstance(value.shape[3], int) and not isinstance(value.shape[2], int)
    if axis == 1 and not is_nhwc:
        return _channels(value)
    return size[axis - (1 if is_nhwc and not isinstance(value.shape[1], int) else 2)]


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
