"""Weights that are stored in fewer bits become floats."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from onnx2mvit.reader.numpy_folding import replace_by

Array = np.ndarray[Any, Any]


def dequantize(model: ir.Model) -> int:
    """Computes each DequantizeLinear of constants; returns how many there were.

    Folding does so from opset 19 on alone, as far as onnx has an implementation.
    """
    count = 0
    for node in [node for node in model.graph if node.op_type == "DequantizeLinear"]:
        tensors = [value.const_value for value in node.inputs if value is not None]
        if len(tensors) < 2 or None in tensors:
            continue
        arrays = [tensor.numpy() for tensor in tensors if tensor is not None]
        axis = node.attributes.get_int("axis", 1)
        array = dequantized(*arrays, axis=axis, block=node.attributes.get_int("block_size", 0))
        replace_by(model, node, array)
        count += 1
    return count


def dequantized(
    x: Array, scale: Array, zero: Array | None = None, *, axis: int, block: int
) -> Array:
    """The floats that integers, or floats of 8 bits, stand for, in the type of the scale.

    Args:
        x: the numbers, of any shape.
        scale: one for all of them, one for each place along `axis`, or one for each block.
        zero: the number that stands for 0; of the scale's shape.
        axis: along which scales differ.
        block: how many places along it have the same scale; 0 for one or for all.
    """

    def along(array: Array) -> Array:
        if block:
            return np.repeat(array, block, axis).take(range(x.shape[axis]), axis)
        return array if array.ndim == 0 else array.reshape(-1, *[1] * (x.ndim - axis % x.ndim - 1))

    numbers = x.astype(np.float32)
    if zero is not None:
        numbers -= along(zero.astype(np.float32))
    return (numbers * along(scale.astype(np.float32))).astype(scale.dtype)
