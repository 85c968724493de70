"""Rules for linear layers, whole and in parts."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnx2mvit.ir.graph import Node, Value
from onnx2mvit.ir.keras_layers import BATCH_NORM_WEIGHTS
from onnx2mvit.matcher import Expr, Ops, Var, any_of, constant, optional
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.rooted import Array, require
from onnx2mvit.matcher.rule import Builder, Rule, elements

POINTWISE: dict[str, Any] = {
    "kernel_shape": (1, 1),
    "strides": (1, 1),
    "dilations": (1, 1),
    "pads": (0, 0, 0, 0),
    "group": 1,
}


def linear(op: Ops, x: Expr, prefix: str = "") -> Expr:
    """A linear layer with a bias or none; its constants are `PREFIXkernel` and `PREFIXbias`."""
    y = op.MatMul(x, constant(f"{prefix}kernel", rank=2), role=f"{prefix}product")
    return any_of(op.Add(y, constant(f"{prefix}bias", rank=1)), y)


def new_linear(
    new: Builder, x: Value, kernel: Array, bias: Array | None = None, prefix: str = ""
) -> Value:
    """Makes one: x·kernel + bias."""
    y = new.MatMul(x, new.constant(kernel, f"{prefix}kernel"))
    return y if bias is None else new.Add(y, new.constant(bias, f"{prefix}bias"))


class GemmIsMatMulAdd(Rule):
    """A linear layer on rank 2 as it is written on rank 3.

    Gemm(x, w, b, transB=1) → Add(MatMul(x, wᵀ), b)
    """

    needed_by = "all: the classifier"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Gemm(x, constant("weight", rank=2), optional("bias"), transA=0)

    def rewrite(self, m: Match, new: Builder) -> Value:
        attrs = m.root.attrs
        alpha, beta = (np.float32(attrs.get(name, 1.0)) for name in ("alpha", "beta"))
        weight = m.weight.const.T if attrs.get("transB") else m.weight.const
        bias = None if m.bias is None else m.bias.const * beta
        return new_linear(new, m.x, weight * alpha, bias)


class LinearGateIsConv(Rule):
    """What linear layers make of the mean image, as 1×1 convolutions make it of one pixel.

    Reshape(gate(linear(act(linear(ReduceMean(x, keepdims=0))))), (B, C, 1, 1))
    → gate(Conv(act(Conv(ReduceMean(x, keepdims=1)))))
    """

    needed_by = "squeeze and excitation in code bases that write it with linear layers"

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = linear(op, op.ReduceMean(x, axes=(2, 3), keepdims=0), "reduce_")
        silu = op.Mul(y, op.Sigmoid(y), role="silu")
        act = any_of(op.Relu(y, role="act"), op.HardSwish(y, role="act"), silu)
        y = linear(op, act, "expand_")
        gate = any_of(op.Sigmoid(y, role="gate"), op.HardSigmoid(y, role="gate"))
        return op.Reshape(gate)

    def rewrite(self, m: Match, new: Builder) -> Value:
        batch, channels, *_ = m.shape("x", 4)
        require(m.root.output.shape == (batch, channels, 1, 1), "it is reshaped to something else")

        def like(node: Node, op: str, *inputs: Value | None, filters: int, **attrs: Any) -> Value:
            made: Value = getattr(new, op)(*inputs, shape=(batch, filters, 1, 1), **attrs)
            new.nodes[-1].scope = node.scope
            return made

        def pixel(x: Value, node: Node, kernel: Value, bias: Value | None) -> Value:
            assert kernel.const is not None
            weight = kernel.const.T[:, :, None, None]
            inputs = x, new.constant(weight, f"{kernel.name}/pixel"), bias
            return like(node, "Conv", *inputs, filters=len(weight), **POINTWISE)

        y = new.ReduceMean(m.x, shape=(batch, channels, 1, 1), axes=(2, 3), keepdims=1)
        y = pixel(y, m.reduce_product, m.reduce_kernel, m.reduce_bias)
        filters = m.reduce_kernel.const.shape[1]
        act = m.silu or m.act
        gated = [like(act, "Sigmoid", y, filters=filters)] if m.silu is not None else []
        y = like(act, act.op, y, *gated, filters=filters, **act.attrs)
        y = pixel(y, m.expand_product, m.expand_kernel, m.expand_bias)
        return like(m.gate, m.gate.op, y, filters=channels, **m.gate.attrs)


class SelectFromLinear(Rule):
    """A part of what a linear layer computes is a smaller linear layer.

    Select(Reshape(Add(MatMul(x, w), b)), axis, index) → Reshape(Add(MatMul(x, w[:, c]), b[c]))
    where the Reshape divides the last axis, and c are the columns that are selected; before it
    other axes may be moved. Slice likewise
    """

    needed_by = "timm, cvnets, and torch's nn.MultiheadAttention"

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = linear(op, x)
        moved = op.Transpose(y, role="moved", perm=lambda perm: perm and perm[-1] == len(perm) - 1)
        divided = op.Reshape(any_of(moved, y), role="divided")
        return any_of(op.Select(divided), op.Slice(divided, role="part"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        units, attrs = m.kernel.const.shape[1], m.root.attrs
        require(m.part is None or "start" in attrs, "the cut is not known")
        several = m.part is None or attrs["end"] - attrs["start"] > 1
        require(several, "one element is selected")
        axis, divided, rows = attrs["axis"], m.shape("divided"), elements(m.shape("x")[:-1])
        before = [n for n in range(axis + 1) if elements(divided[:n]) == rows]
        require(bool(before), "another axis is selected from")
        parts = np.arange(units).reshape(divided[before[-1] :])
        which = attrs["index"] if m.part is None else range(attrs["start"], attrs["end"])
        y = columns_of(m, new, parts.take(which, axis=axis - before[-1]).reshape(-1))
        y = y if m.moved is None else new.Transpose(y, perm=m.moved.attrs["perm"])
        return new.Reshape(y, shape=m.root.output.shape)


class SliceOfLinear(Rule):
    """The same where the last axis is cut without being divided.

    Slice(Add(MatMul(x, w), b), axis=last, start=s, end=e) → Add(MatMul(x, w[:, s:e]), b[s:e])
    """

    needed_by = "cvnets for mobile"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Slice(linear(op, x))

    def rewrite(self, m: Match, new: Builder) -> Value:
        attrs = m.root.attrs
        require("start" in attrs, "the cut is not known")
        require(attrs["axis"] == len(m.shape("x")) - 1, "another axis is cut")
        return columns_of(m, new, np.arange(attrs["start"], attrs["end"]))


class PartOfChannels(Rule):
    """A part of the channels of a convolution, or of what is normalized, is a smaller one.

    Slice(Reshape(BatchNormalization(y, s, b, m, v)), axis, start, end)
    → Reshape(BatchNormalization(y', s[c], b[c], m[c], v[c])) where c are the channels in it, y is a
    convolution or a linear layer whose tokens stand in a row, and y' its columns c
    """

    needed_by = "LeViT, whose query, key and value are one layer with a normalization"

    def onnx(self, op: Ops, x: Var) -> Expr:
        flat = op.Reshape(linear(op, x), role="flat")
        filters, offsets = constant("filters", rank=4), optional("offsets", rank=1)
        conv = op.Conv(x, filters, offsets, role="conv", group=1)
        weights = (constant(name, rank=1) for name in BATCH_NORM_WEIGHTS)
        norm = op.BatchNormalization(any_of(flat, conv), *weights, role="norm")
        return op.Slice(op.Reshape(any_of(norm, conv), role="divided"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        attrs, made = m.root.attrs, m.shape("conv" if m.norm is None else "norm")
        require("start" in attrs, "the cut is not known")
        along = (-1, *[1] * (len(made) - 2))  # the axes of a channel
        of_each = np.broadcast_to(np.arange(made[1]).reshape(along), made)
        cut = range(attrs["start"], attrs["end"])
        part = of_each.reshape(m.shape("divided")).take(cut, axis=attrs["axis"])
        count, rest = divmod(part.size * made[1], elements(made))
        require(not rest, "it cuts through channels")
        shape = (made[0], count, *made[2:])
        channels = part.reshape(*shape[:2], -1)[0, :, 0]
        whole = np.broadcast_to(channels.reshape(along), shape)
        require(np.array_equal(part.reshape(shape), whole), "it cuts through channels")
        if m.conv is not None:
            offsets = None if m.offsets is None else m.offsets.const[channels]
            weights = (m.filters.const[channels], offsets)
            given = (w if w is None else new.constant(w, f"part_{w.ndim}") for w in weights)
            y = new.Conv(m.x, *given, shape=shape, **m.conv.attrs)
        else:
            y = new.Reshape(columns_of(m, new, channels), shape=shape)
        if m.norm is not None:
            of_part = (new.constant(m.bound[n].const[channels], n) for n in BATCH_NORM_WEIGHTS)
            y = new.BatchNormalization(y, *of_part, shape=shape, **m.norm.attrs)
        return new.Reshape(y, shape=m.root.output.shape)


def columns_of(m: Match, new: Builder, columns: Array) -> Value:
    """The linear layer of a match with some of its columns alone."""
    bias = None if m.bias is None else m.bias.const[columns]
    first, last = columns[0], columns[-1]
    in_a_row = np.array_equal(columns, np.arange(first, last + 1))
    taken = slice(first, last + 1) if in_a_row else columns  # without a copy, if it can be
    return new_linear(new, m.x, m.kernel.const[:, taken], bias, f"{first}_")
