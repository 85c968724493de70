"""Floats of every precision become float32, the one that Keras layers compute in."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir

from onnx2mvit.ir.graph import Source

# By the bits of their fractions, the fewest first.
FLOATS = (ir.DataType.BFLOAT16, ir.DataType.FLOAT16, ir.DataType.FLOAT, ir.DataType.DOUBLE)
TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype")  # of Cast and the like


def as_float32(array: np.ndarray[Any, Any], dtype: ir.DataType) -> np.ndarray[Any, Any]:
    """A tensor in float32, if it is one of floats; what is larger than all of them is infinite."""
    if dtype not in FLOATS:
        return array
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)


def float32_for(dtype: ir.DataType | None) -> ir.DataType | None:
    """The type that takes the place of another."""
    return ir.DataType.FLOAT if dtype in FLOATS else dtype


def with_precision(source: Source, dtypes: Collection[ir.DataType | None]) -> Source:
    """What the file says of itself, and what it computes in by the types of its values."""
    found = [dtype for dtype in FLOATS if dtype in dtypes]
    other = [dtype for dtype in found if dtype != ir.DataType.FLOAT]
    if not other:
        return source
    how = "narrowed" if other == [ir.DataType.DOUBLE] else "widened"
    names = " and ".join(str(dtype.numpy()) for dtype in other)
    weights = f"{source.weights}, {how} from {names}"
    return replace(source, weights=weights, precision=str(found[0].numpy()))
