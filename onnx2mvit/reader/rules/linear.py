"""Rules for linear layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnx2mvit.ir.graph import Node, Value
from onnx2mvit.matcher import Expr, Ops, Var, any_of, constant, optional
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.rooted import Array, require
from onnx2mvit.matcher.rule import Builder, Rule

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
