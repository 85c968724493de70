"""Rules for linear layers."""

from __future__ import annotations

import numpy as np

from onnx2mvit.graph import Value
from onnx2mvit.matcher import Match
from onnx2mvit.pattern import Expr, Ops, Var, any_of, constant, optional
from onnx2mvit.rules.base import Builder, Rule


def linear(op: Ops, x: Var, prefix: str = "") -> Expr:
    """A linear layer with a bias or none; its constants are `PREFIXkernel` and `PREFIXbias`."""
    y = op.MatMul(x, constant(f"{prefix}kernel", rank=2))
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
