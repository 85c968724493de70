"""What ONNX's checker lets pass although no network can have it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import google.protobuf.message
import numpy as np
import onnx
import onnx_ir as ir

from onnx2mvit.errors import MALFORMED, InvalidModelError, UnsupportedError
from onnx2mvit.ir.graph import Node, Value
from onnx2mvit.ir.image_size import BAKED_IN

# Their weights are summed up; elsewhere an infinite number may be a bound, or mask a place.
SUMS = frozenset(
    {
        "Conv",
        "ConvTranspose",
        "Gemm",
        "MatMul",
        "BatchNormalization",
        "LayerNormalization",
        "InstanceNormalization",
        "GroupNormalization",
    }
)

ONNXRUNTIME = ("com.microsoft", "com.ms.")  # its own domains
PADDED = frozenset({"Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool"})
AUTO_PAD = (None, "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
Shape = tuple[int, ...]
BROKEN_DATA = (OSError, *MALFORMED)


def check_places(path: Path) -> None:
    """Raises InvalidModelError if the place of external data is no number of bytes."""
    try:
        model = onnx.load(path, load_external_data=False)
    except google.protobuf.message.DecodeError:
        return
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key in ("offset", "length") and not entry.value.isdecimal():
                raise InvalidModelError(
                    f"{path} says that the data of {tensor.name!r} has the {entry.key} "
                    f"{entry.value[:40]!r}, which is no number of bytes"
                )


def check_data(model: ir.Model) -> None:
    """Raises InvalidModelError if a tensor's data is more or less than its shape says."""
    for tensor in (value.const_value for value in model.graph.initializers.values()):
        have = None
        if isinstance(tensor, ir.ExternalTensor):
            left = Path(tensor.path).stat().st_size - (tensor.offset or 0)
            have = min(left, tensor.length or tensor.nbytes)
        elif isinstance(tensor, ir.TensorProtoTensor) and tensor.raw.HasField("raw_data"):
            have = len(tensor.raw.raw_data)
        if tensor is not None and have is not None and have != tensor.nbytes:
            raise InvalidModelError(
                f"the data of {tensor.name!r} is {max(have, 0):,} bytes, but its shape "
                f"{list(tensor.shape.numpy())} and type {tensor.dtype} take {tensor.nbytes:,}: "
                "export or download it again"
            )


def check_text(model: ir.Model, file: str) -> None:
    """Raises InvalidModelError if a name is no UTF-8: protobuf hands those out as bytes."""
    for text in _texts(model):
        if isinstance(text, bytes):
            raise InvalidModelError(f"{file} holds a name that is not UTF-8: {text[:60]!r}")


def check_operators(model: ir.Model, file: str) -> None:
    """Raises UnsupportedError for operators that onnxruntime made, and what would end the process.

    That is RegexFullMatch in ONNX's shape inference (1.23.2), where the type of its input is not
    known.
    """
    functions = (node for each in model.functions.values() for node in each.all_nodes())
    for node in itertools.chain(model.graph.all_nodes(), functions):
        if node.op_type == "RegexFullMatch":
            raise UnsupportedError(f"node {node.name!r} (RegexFullMatch) works on texts")
        if node.domain.startswith(ONNXRUNTIME) and node.op_identifier() not in model.functions:
            raise UnsupportedError(
                f"{file} was optimised or quantized by onnxruntime, or made for it alone (it has "
                f"{node.op_type} of {node.domain}): convert the ONNX file that it was made from"
            )


def _texts(model: ir.Model) -> Iterator[object]:
    yield from (model.producer_name, model.producer_version, model.graph.name)
    yield from model.opset_imports
    for entry in model.metadata_props.items():
        yield from entry
    for value in (*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()):
        yield value.name
    nodes = [*model.graph.all_nodes()]
    for function in model.functions.values():
        nodes += function.all_nodes()
        yield from (function.domain, function.name)
    for node in nodes:
        yield from (node.name, node.op_type, node.domain)
        yield from (value.name for value in node.outputs)
        yield from (value.name for value in node.inputs if value is not None)
        yield from node.attributes
        for entry in node.metadata_props.items():
            yield from entry


def check_numbers(where: str, op: str, value: Value) -> None:
    """Raises UnsupportedError if a weight holds NaN, or infinity where that can but give NaN.

    `where` names the node in the message, `op` is its operator.
    """
    array = value.const
    if array is None or array.dtype != np.float32 or np.isfinite(array).all():
        return
    if np.isnan(array).any():
        what, count = "NaN", int(np.isnan(array).sum())
    elif op in SUMS:
        what, count = "infinite", int(np.isinf(array).sum())
    else:
        return
    raise UnsupportedError(
        f"{where} has the weight {value.name!r}, of whose {array.size:,} numbers {count:,} are "
        f"{what}: what it computes cannot be compared. Was the training cut short, or diverging?"
    )


def check_attributes(node: Node) -> None:
    """Raises UnsupportedError if an attribute is not a number, or infinite."""
    for name, value in node.attrs.items():
        numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
            where = node.scope or node.name or node.output.name
            raise UnsupportedError(f"node {where!r} ({node.op}) has the {name} {value}")


def check_node(node: Node, open_size: bool) -> None:
    """Looks whether a node contradicts the shapes around it, which ONNX lets pass.

    A convolution for another number of channels, an order of axes that is none, or a shape of
    more or fewer numbers than there are. With `open_size` the file leaves that of images open.

    Raises:
        InvalidModelError: it does.
        UnsupportedError: it does at the size that the file is read at.
    """
    shapes = [value.shape if value is not None else None for value in node.inputs]
    complaint = None
    if node.op in PADDED and node.attrs.get("auto_pad", "NOTSET") not in AUTO_PAD:
        complaint = f"has the auto_pad {node.attrs['auto_pad']!r:.40}"
    elif node.op == "Conv" and len(shapes) > 1:
        complaint = _channels(shapes[0], shapes[1], node.attrs.get("group"))
        complaint = complaint or _bias(shapes[1], *shapes[2:3])
    elif node.op == "Reshape" and shapes and None not in (shapes[0], node.output.shape):
        have, made = math.prod(shapes[0] or ()), math.prod(node.output.shape or ())
        complaint = None if have == made else f"makes {made:,} numbers of {have:,}"
    elif node.op == "Transpose" and shapes and shapes[0] is not None and node.attrs.get("perm"):
        perm, rank = node.attrs["perm"], len(shapes[0])
        if sorted(perm) != list(range(rank)):
            complaint = f"has the perm {list(perm)[:10]}, which is no order of {rank} axes"
    if complaint is not None:
        where = node.scope or node.name or node.output.name
        if open_size and node.op == "Reshape":
            raise UnsupportedError(f"node {where!r} ({node.op}) {complaint}: {BAKED_IN}")
        raise InvalidModelError(f"node {where!r} ({node.op}) {complaint}: export it again")


def _bias(weight: Shape | None, bias: Shape | None = None) -> str | None:
    if not weight or bias is None or len(bias) != 1 or bias == weight[:1]:
        return None
    return f"has a bias {list(bias)} for {weight[0]} filters"


def _channels(image: Shape | None, weight: Shape | None, group: int | None) -> str | None:
    if image is None or weight is None or len(weight) < 3:
        return None
    groups = 1 if group is None else int(group)
    if len(image) == len(weight) and image[1] == weight[1] * groups and groups > 0:
        return None
    return (
        f"has a weight {list(weight)} of {groups} groups, for {weight[1] * groups} channels, but "
        f"reads {list(image)}"
    )
