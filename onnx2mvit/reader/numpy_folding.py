"""Constants that numpy computes, where onnx goes place by place or onnxscript leaves them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from onnx2mvit.reader.limits import Budget

Array = np.ndarray[Any, Any]


def fold_by_numpy(model: ir.Model, budget: Budget) -> int:
    """Computes constants that would take seconds, or are not folded, where they are not too large.

    * GatherND, ScatterND, ScatterElements. Tables of relative positions are looked up for every
      pair of pixels: 600,000 places in each block of LeViT-384-s8, and ConViT writes its own in.
    * BatchNormalization, in training as well: torch standardizes the weights of a convolution by it
      (NFNet, BiT), and the TorchScript exporter writes it so.

    Args:
        model: it is changed.
        budget: each is counted.

    Returns:
        How many there were.
    """
    count = 0
    for node in [node for node in model.graph if not node.domain and node.op_type in COMPUTED]:
        tensors = [value.const_value for value in node.inputs if value is not None]
        others = node.outputs[1:]
        if None in tensors or any(other.uses() or other.is_graph_output() for other in others):
            continue
        if not budget.allows(node):
            continue
        arrays = [tensor.numpy() for tensor in tensors if tensor is not None]
        array = COMPUTED[node.op_type](node, *arrays)
        if array is not None:
            replace_by(model, node, array)
            count += 1
    return count


def replace_by(model: ir.Model, node: ir.Node, array: Array) -> None:
    """Puts what a node computes, its first output, into the model as a constant, in its place."""
    old = node.outputs[0]
    new = ir.Value(name=old.name, const_value=ir.tensor(array), shape=ir.Shape(array.shape))
    new.dtype = ir.DataType.from_numpy(array.dtype)
    model.graph.register_initializer(new)
    ir.convenience.replace_nodes_and_values(model.graph, node, [node], [], [old], [new])


def _gather_nd(node: ir.Node, table: Array, places: Array) -> Array | None:
    at = _inside(places, table.shape[: places.shape[-1]])
    return None if at is None or node.attributes.get_int("batch_dims", 0) > 0 else table[at]


def _scatter_nd(node: ir.Node, table: Array, places: Array, written: Array) -> Array | None:
    at = _inside(places, table.shape[: places.shape[-1]])
    return None if at is None else _written(node, table, at, written)


def _scatter_elements(node: ir.Node, table: Array, places: Array, written: Array) -> Array | None:
    axis = node.attributes.get_int("axis", 0)
    length = table.shape[axis]
    if not ((places >= -length) & (places < length)).all():
        return None
    at: list[Array] = [*np.indices(places.shape, sparse=True)]
    at[axis] = places
    return _written(node, table, tuple(at), written)


def _written(node: ir.Node, table: Array, at: tuple[Array, ...], written: Array) -> Array:
    made = table.copy()
    reduction = REDUCTIONS.get(node.attributes.get_string("reduction", "none"))
    if reduction is None:
        made[at] = written
    else:
        reduction.at(made, at, written)
    return made


def _batch_norm(node: ir.Node, x: Array, *constants: Array) -> Array:
    """In training where it says so (ONNX operator version 14), or gives its statistics (before)."""
    wide, axes = x.astype(np.float64), (0, *range(2, x.ndim))
    each = (-1, *(1 for _ in range(2, x.ndim)))
    scale, bias, mean, variance = (array.reshape(each) for array in constants)
    if node.attributes.get_int("training_mode", 0) or len(node.outputs) > 1:
        mean, variance = wide.mean(axes, keepdims=True), wide.var(axes, keepdims=True)
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    made = (wide - mean) / np.sqrt(variance + epsilon) * scale + bias
    return made.astype(x.dtype)


def _inside(places: Array, lengths: tuple[int, ...]) -> tuple[Array, ...] | None:
    """The places as an index; None if one of them is not there."""
    inside = (places >= -np.array(lengths)) & (places < lengths)
    return tuple(np.moveaxis(places, -1, 0)) if inside.all() else None


REDUCTIONS: Mapping[str, np.ufunc] = {
    "add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum
}  # fmt: skip
COMPUTED: Mapping[str, Callable[..., Array | None]] = {
    "GatherND": _gather_nd,
    "ScatterND": _scatter_nd,
    "ScatterElements": _scatter_elements,
    "BatchNormalization": _batch_norm,
}
