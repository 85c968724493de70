"""Attention as one operator, which is in ONNX from opset 23 on."""

from __future__ import annotations

import math

import numpy as np

from onnx2mvit.ir.code import KerasCode
from onnx2mvit.ir.expr import KerasExpr, call
from onnx2mvit.ir.layout import Order, plain
from onnx2mvit.lowering.operators.context import OpContext
from onnx2mvit.lowering.operators.operands import MixesBatch
from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.matcher.rooted import Mismatch, require

HEADS = ("q_num_heads", "kv_num_heads", "kv_num_heads")


@operator("Attention", 23, 24, 25)
def attention(op: OpContext) -> KerasCode:
    """As `dot_product_attention`, whose tensors are (batch, tokens, heads, channels).

    ONNX has (batch, heads, tokens, channels), or (batch, tokens, heads · channels) and the number
    of heads as an attribute; fewer heads of keys are shared by groups of those of queries.
    """
    attrs, rank = op.attrs, len(op.shape())
    _refuse_what_keras_lacks(op)
    batch = op.result_batch = op.layout().batch
    query, key, value = (_in_heads(op, index) for index in range(3))
    heads = [op.shape(i)[1] if rank == 4 else attrs[HEADS[i]] for i in range(2)]
    if heads[0] != heads[1]:
        key, value = (call("ops.repeat", x, heads[0] // heads[1], axis=2) for x in (key, value))
    usual = 1 / math.sqrt(_channels(op, 0))
    scale = attrs.get("scale") or usual
    given, mask = ("mask" if _hides(op) else "bias"), _mask(op)
    x = call(
        "ops.dot_product_attention",
        query,
        key,
        value,
        **{given: mask},
        scale=None if math.isclose(scale, usual, rel_tol=1e-6) else scale,
        is_causal=bool(attrs.get("is_causal")) or None,
    )
    if op.has(3) and op.value(3).const is None:  # what sees no token is zero in ONNX
        x = call("ops.nan_to_num", x)
    if rank == 4:
        return op.code(x, (0, 2, 1, 3), batch)
    op.has_lengths_of([1])
    return op.code(call("ops.reshape", x, (-1, *op.output_shape[1:])), plain(3), batch)


def _refuse_what_keras_lacks(op: OpContext) -> None:
    attrs = op.attrs
    require(not any(op.has(index) for index in (4, 5, 6)), "it has a cache of keys and values")
    require(not attrs.get("softcap"), "its scores are capped")
    windows = {attrs.get(f"{side}_window_size", -1) for side in ("left", "right")}
    require(windows == {-1}, "it looks at a window of the tokens")
    per_head = {_channels(op, index) for index in range(3)}  # Keras 3.15 infers a wrong shape else
    require(len(per_head) == 1, "its values have other channels than its keys")
    for index in range(3):
        require(op.value(index).const is None, f"input {index} is a constant")
        if op.layout(index).batch not in (0, None):
            raise MixesBatch("Attention goes over the images of a batch")


def _channels(op: OpContext, index: int) -> int:
    """Of each head of an input."""
    shape = op.shape(index)
    return shape[-1] if len(shape) == 4 else shape[-1] // op.attrs[HEADS[index]]


def _in_heads(op: OpContext, index: int) -> KerasExpr:
    """An input as (batch, tokens, heads, channels)."""
    shape = op.shape(index)
    if len(shape) == 4:
        return op.data(index, (0, 2, 1, 3))
    op.has_lengths_of([1], index)
    target = (-1, shape[1], op.attrs[HEADS[index]], _channels(op, index))
    return call("ops.reshape", op.data(index, plain(3)), target)


def _hides(op: OpContext) -> bool:
    """True if the mask says which tokens are seen, False if it is added to the scores."""
    dtype = op.value(3).dtype if op.has(3) else None
    return dtype is not None and dtype.kind == "b"


def _mask(op: OpContext) -> KerasExpr | None:
    """The mask, which is broadcast to (batch, heads, queries, keys)."""
    if not op.has(3):
        return None
    shape, rank = op.shape(3), len(op.shape())
    tokens = op.shape(1)[-2] if rank == 4 else op.shape(1)[1]
    require(shape[-1] == tokens, "its mask is for fewer tokens")
    array, missing = op.value(3).const, 4 - len(shape)
    if array is not None:
        seen = array if array.dtype.kind == "b" else np.isfinite(array)
        require(bool(seen.any(axis=-1).all()), "a query sees no token")
        op.has_lengths_of([rank - 2], 1)
        array = op.of_one_image(array.reshape((1,) * missing + shape), plain(4))
        rows = 1 if op.batch_of_operands(4) is None else len(array)
        return op.constant(array) if rows == 1 else op.rows_for_each_image(array, 0)
    batch = op.layout(3).batch
    if batch not in (None, 0) or (batch == 0 and missing):
        raise Mismatch("its mask has the batch on another axis")
    order: Order = plain(len(shape))
    x = op.data(3, order)
    return call("ops.expand_dims", x, tuple(range(missing))) if missing else x
