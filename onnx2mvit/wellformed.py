"""What ONNX's checker lets pass although no network can have it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import google.protobuf.message
import numpy as np
import onnx
import onnx_ir as ir

from onnx2mvit.errors import InvalidModelError, UnsupportedError
from onnx2mvit.graph import Node, Value

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


def check_channels(node: Node) -> None:
    """Raises InvalidModelError if a convolution is for another number of channels."""
    if node.op != "Conv" or len(node.inputs) < 2:
        return
    image, weight = (value.shape if value is not None else None for value in node.inputs[:2])
    if image is None or weight is None or len(weight) < 3:
        return
    group = node.attrs.get("group")
    group = 1 if group is None else int(group)
    if len(image) != len(weight) or image[1] != weight[1] * group or group < 1:
        raise InvalidModelError(
            f"node {node.scope or node.name or node.output.name!r} (Conv) has a weight "
            f"{list(weight)} of {group} groups, for {weight[1] * group} channels, but reads "
            f"{list(image)}"
        )
