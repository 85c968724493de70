"""What ONNX's checker lets pass although no network can have it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from onnx2mvit.errors import InvalidModelError, UnsupportedError
from onnx2mvit.graph import Value

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
