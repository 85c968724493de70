"""What a file computes with the number of its images, which a model for any number has not.

A Shape that is read to make another is no matter: what is worked out for one batch is worked out
for all. Where it becomes a number among the data, as in a sum that is divided by all elements, the
answer to an image depends on how many there are.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnx2mvit.errors import UnsupportedError
from onnx2mvit.ir.graph import Graph, Value

COUNTS = ("Shape", "Size")


def may_count(model: ir.Model) -> bool:
    """Whether data meets a number of floats that is made of lengths of which one may be a batch.

    A Resize takes its scales so, which are made anew for every number of images.
    """
    fixed: set[ir.Value] = set()  # constants, and what is made of them alone
    lengths: dict[ir.Value, bool] = {}  # what is made of shapes and constants; True of floats
    for node in model.graph:
        read = [value for value in node.inputs if value is not None and value not in fixed]
        read = [value for value in read if value.const_value is None]
        if not read or _is_behind_the_first(node):
            fixed.update(node.outputs)
        elif node.op_type in COUNTS:
            lengths |= dict.fromkeys(node.outputs, False)
        elif lengths.keys() >= set(read):
            floats = any(lengths[value] for value in read)
            if node.op_type == "Cast":
                floats = ir.DataType(node.attributes.get_int("to", 0)).is_floating_point()
            lengths |= dict.fromkeys(node.outputs, floats)
        elif node.op_type != "Resize" and any(lengths.get(value) for value in read):
            return True
    return False


def may_drop_batch(model: ir.Model) -> bool:
    """Whether a batch of one may be dropped: by a Squeeze of data that says no axes."""
    lengths: set[ir.Value] = set()  # what is made of shapes and constants alone
    for node in model.graph.all_nodes():
        read = {value for value in node.inputs if value is not None and value.const_value is None}
        if node.op_type in COUNTS or read <= lengths:
            lengths.update(node.outputs)
        elif node.op_type == "Squeeze" and not node.attributes and len(node.inputs) < 2:
            return True
    return False


def _is_behind_the_first(node: ir.Node) -> bool:
    """Whether it takes lengths of a shape without the first, where the batch is as a rule."""
    if node.op_type == "Shape":
        return node.attributes.get_int("start", 0) != 0
    made_by = node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None
    if made_by is None or made_by.op_type != "Shape" or node.op_type not in ("Gather", "Slice"):
        return False
    places = ir.convenience.get_const_tensor(node.inputs[1]) if node.inputs[1] else None
    return places is not None and bool(places.numpy().all())


def refuse_counted(graph: Graph, other: Graph) -> None:
    """Compares a graph with what the same file is for another number of images.

    Raises:
        UnsupportedError: a constant of floats differs.
    """
    for node, its in zip(graph, other, strict=False):
        if node.op != its.op:
            return  # where they part, nothing can be told
        for value, same in zip(node.inputs, its.inputs, strict=False):
            if value is not None and same is not None and _differ(value, same):
                raise UnsupportedError(
                    f"{node.output.name!r} is computed with the number of images ({node.op}), so "
                    "that the answer to one depends on how many there are: export the file for one "
                    "number of them"
                )


def _differ(value: Value, other: Value) -> bool:
    one, two = value.const, other.const
    if one is None or two is None or one.shape != two.shape or one.dtype.kind != "f":
        return False
    return not np.array_equal(one, two, equal_nan=True)
