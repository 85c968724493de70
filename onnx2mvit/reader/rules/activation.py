"""Rules for activations that are one operator in newer opsets."""

from __future__ import annotations

import math

import numpy as np

from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher import Expr, Ops, Var, any_of, scalar
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.rooted import require
from onnx2mvit.matcher.rule import Builder, Rule


class GeluFromParts(Rule):
    """Below opset 20 there is no Gelu. Half may be anywhere, and x³ be written as x·(x·x).

    Mul(Mul(x, Add(Erf(Mul(x, √½)), 1)), ½)
    | Mul(Mul(x, Add(Tanh(Mul(Add(x, Mul(Pow(x, 3), 0.044715)), √(2/π))), 1)), ½)
    → Gelu(x, approximate="none") | Gelu(x, approximate="tanh")
    """

    needed_by = (
        "networks with GELU by legacy, and by dynamo below opset 20; "
        "Hugging Face with `gelu_new` or `gelu_pytorch_tanh`, timm with `gelu_tanh`"
    )

    def onnx(self, op: Ops, x: Var) -> Expr:
        cube = any_of(op.Pow(x, scalar("three", 3.0)), op.Mul(x, op.Mul(x, x)))
        inner = op.Add(x, op.Mul(cube, scalar("factor", 0.044715)))
        gate = any_of(
            op.Erf(op.Mul(x, scalar("inverse_root", math.sqrt(0.5)))),
            op.Tanh(op.Mul(inner, scalar("root", math.sqrt(2 / math.pi))), role="tanh"),
        )
        half, one_plus = scalar("half", 0.5), op.Add(gate, scalar("one", 1.0))
        return any_of(
            op.Mul(op.Mul(x, one_plus), half),
            op.Mul(op.Mul(x, half), one_plus),
            op.Mul(x, op.Mul(one_plus, half)),
        )

    def rewrite(self, m: Match, new: Builder) -> Value:
        require(m.x.const is None, "it is applied to a constant")
        return new.like_root(m.x, op="Gelu", approximate="none" if m.tanh is None else "tanh")


class HardSigmoidFromParts(Rule):
    """The hard sigmoid as the papers write it, relu6(x + 3) / 6, or first times x.

    Mul(Clip(Add(x, 3), 0, 6), 1/6) | Mul(Mul(x, Clip(Add(x, 3), 0, 6)), 1/6)
    → HardSigmoid(x, alpha=1/6, beta=½) | HardSwish(x)
    """

    needed_by = "networks whose code spells hard sigmoid or hard swish out"

    def onnx(self, op: Ops, x: Var) -> Expr:
        clip = op.Clip(op.Add(x, scalar("three", 3.0)), scalar("low", 0.0), scalar("high", 6.0))
        sixth = scalar("sixth", 1 / 6)
        return any_of(op.Mul(op.Mul(x, clip, role="swish"), sixth), op.Mul(clip, sixth))

    def rewrite(self, m: Match, new: Builder) -> Value:
        require(m.x.const is None, "it is applied to a constant")
        if m.swish is not None:
            return new.like_root(m.x, op="HardSwish")
        # As ONNX keeps attributes.
        return new.like_root(m.x, op="HardSigmoid", alpha=float(np.float32(1 / 6)), beta=0.5)


class HardSwishFromParts(Rule):
    """Below opset 14 there is no HardSwish.

    Mul(x, HardSigmoid(x, alpha=1/6, beta=½)) → HardSwish(x)
    """

    needed_by = "networks with hard swish by legacy below opset 14"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Mul(x, op.HardSigmoid(x, alpha=is_sixth, beta=0.5))

    def rewrite(self, m: Match, new: Builder) -> Value:
        return new.like_root(m.x, op="HardSwish")


def is_sixth(slope: float) -> bool:
    """True for 1/6 as ONNX keeps attributes, in float32."""
    return math.isclose(slope, 1 / 6, rel_tol=1e-6)
