"""What is looked up in a constant is computed at once; onnx goes through it place by place."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from onnx2mvit.reader.limits import Budget


def look_up(model: ir.Model, budget: Budget) -> int:
    """Computes each GatherND of constants that are not too large; returns how many there were.

    Tables of relative positions are looked up for every pair of pixels: 600,000 places in each
    block of LeViT-384-s8, seconds in onnx's reference implementation.
    """
    count = 0
    for node in [node for node in model.graph if node.op_type == "GatherND"]:
        tensors = [value.const_value for value in node.inputs if value is not None]
        batched = node.attributes.get_int("batch_dims", 0) > 0
        if len(tensors) != 2 or None in tensors or batched:
            continue
        table, places = (tensor.numpy() for tensor in tensors if tensor is not None)
        lengths = table.shape[: places.shape[-1]]
        inside = (places >= -np.array(lengths)) & (places < lengths)
        if not inside.all() or not budget.allows(node):
            continue
        array = table[tuple(np.moveaxis(places, -1, 0))]
        replace_by(model, node, array)
        count += 1
    return count


def replace_by(model: ir.Model, node: ir.Node, array: np.ndarray[Any, Any]) -> None:
    """Puts what a node computes, its only output, into the model as a constant, in its place."""
    old = node.outputs[0]
    new = ir.Value(name=old.name, const_value=ir.tensor(array), shape=ir.Shape(array.shape))
    new.dtype = ir.DataType.from_numpy(array.dtype)
    model.graph.register_initializer(new)
    ir.convenience.replace_nodes_and_values(model.graph, node, [node], [], [old], [new])
