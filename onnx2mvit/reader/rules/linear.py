"""Rules for linear layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnx2mvit.ir.graph import Node, Value
from onnx2mvit.matcher.expression import Expr, Ops, Var, any_of, constant, optional
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.rooted import require
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


class GemmIsMatMulAdd(Rule):
    """A linear layer on rank 2 as it is written on rank 3.

    Gemm(x, w, b, transB=1) → Add(MatMul(x, wᵀ), b)
    """

    needed_by = "all: the classifier"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Gemm(x, constant("weight", rank=2), optional("bias"), transA=0)

    def rewrite(self, m: Match, new: Builder) -> Value:
        attrs = m.root.attrs
        weight = m.weight.const.T if attrs.get("transB") else m.weight.const
        weight = weight * np.float32(attrs.get("alpha", 1.0))
        product = new.MatMul(m.x, new.constant(weight, "weight"))
        if m.bias is None:
            return product
        bias = m.bias.const * np.float32(attrs.get("beta", 1.0))
        return new.Add(product, new.constant(bias, "bias"))


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
        batch, channels, *_ = m.x.shape or (0, 0)
        require(m.root.output.shape == (batch, channels, 1, 1), "it is reshaped to something else")

        def like(node: Node, *inputs: Value, channels: int, op: str, **attrs: Any) -> Value:
            made: Value = getattr(new, op)(*inputs, shape=(batch, channels, 1, 1), **attrs)
            new.nodes[-1].scope = node.scope
            return made

        def pixel(x: Value, node: Node, kernel: Value, bias: Value | None) -> Value:
            assert kernel.const is not None
            kernels = kernel.const.T[:, :, None, None]
            weight = new.constant(kernels, f"{kernel.name}/pixel")
            inputs = (x, weight) if bias is None else (x, weight, bias)
            return like(node, *inputs, channels=len(kernels), op="Conv", **POINTWISE)

        y = new.ReduceMean(m.x, shape=(batch, channels, 1, 1), axes=(2, 3), keepdims=1)
        y = pixel(y, m.reduce_product, m.reduce_kernel, m.reduce_bias)
        filters = m.reduce_kernel.const.shape[1]
        if m.silu is not None:
            sigmoid = like(m.silu, y, channels=filters, op="Sigmoid")
            y = like(m.silu, y, sigmoid, channels=filters, op="Mul")
        else:
            y = like(m.act, y, channels=filters, op=m.act.op, **m.act.attrs)
        y = pixel(y, m.expand_product, m.expand_kernel, m.expand_bias)
        return like(m.gate, y, channels=channels, op=m.gate.op, **m.gate.attrs)
