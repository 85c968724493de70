"""Nodes as they stand after the rules, in ONNX's own words at a given opset.

The inverse of what the rules bring to one spelling: `Select`, `Roll`, a `Reshape` without a shape,
recurrent layers that join their directions, and operators that are newer than the file's opset are
written with what ONNX has there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnx2mvit.ir.graph import STATEMENTS, Node

Array = np.ndarray[Any, Any]
# The first opset that has the operator, or has it as we write it.
SINCE = {"Gelu": 20, "GroupNormalization": 21, "HardSwish": 14, "LayerNormalization": 17}
REDUCED = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
AXES_ARE_AN_INPUT = {"ReduceSum": 13} | {f"Reduce{how}": 18 for how in REDUCED}
LATER = "onnx2mvit.later"
LEAST, MOST = np.iinfo(np.int64).min, np.iinfo(np.int64).max


class OpsetDowngrade:
    """Writes one node; further nodes and constants get names that begin with its output's.

    `constant` takes a name and an array, and answers with the name that the array has. Operators
    up to the opset `brought_to` are written in the domain `LATER`, if the model is brought there.
    """

    def __init__(
        self, opset: int, constant: Callable[[str, Array], str], brought_to: int = 0
    ) -> None:
        self.opset, self.brought_to = opset, brought_to
        self.constant = constant

    def __call__(
        self, node: Node, inputs: Sequence[str], outputs: Sequence[str]
    ) -> list[onnx.NodeProto]:
        """The operators that compute what the node does."""
        self.protos: list[onnx.NodeProto] = []
        self.stem = outputs[0]
        since = SINCE.get(node.op, 0)
        if self.opset < since <= self.brought_to:
            later = helper.make_node(node.op, inputs, outputs, domain=LATER, **node.attrs)
            self.protos.append(later)
        elif since > self.opset:
            older = {
                "Gelu": self._gelu,
                "GroupNormalization": self._group_norm,
                "HardSwish": self._hard_swish,
                "LayerNormalization": self._layer_norm,
            }
            older[node.op](node, list(inputs))
        else:
            self._write(node, list(inputs), list(outputs))
        return self.protos

    def _write(self, node: Node, inputs: list[str], outputs: list[str]) -> None:
        attrs = {
            key: value
            for key, value in node.attrs.items()
            if value is not None and key not in STATEMENTS
        }
        if attrs.pop("joined", None):
            self._recurrent(node, inputs, outputs, attrs)
        elif node.op == "Roll":
            self._roll(node, inputs[0])
        else:
            self._alone(node, inputs, outputs, attrs)

    def _alone(
        self, node: Node, inputs: list[str], outputs: list[str], attrs: dict[str, Any]
    ) -> None:
        """What is one node in the file as well, whose attributes may be inputs there."""
        op, shape = node.op, node.output.shape or ()
        if op == "Reshape" and len(inputs) == 1:
            inputs.append(self._integers("shape", shape))
        elif op == "Select":
            op = "Gather"
            inputs.append(self._number("index", attrs.pop("index"), np.int64))
        elif op == "Slice" and "start" in attrs:
            inputs += [self._integers(part, [attrs[part]]) for part in ("start", "end", "axis")]
            attrs = {}
        elif self.opset >= AXES_ARE_AN_INPUT.get(op, MOST) and "axes" in attrs:
            inputs.append(self._integers("axes", attrs.pop("axes")))
        elif op == "Resize" and not any(inputs[1:3]):
            sizes = inputs[3:] or [self._integers("sizes", shape)]
            inputs = [inputs[0], *self._no_scales(), *sizes]
            if attrs["mode"] == "align_corners":
                attrs = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
        domain, _, op = op.rpartition("::")
        attrs = {key: _attribute(value) for key, value in attrs.items()}
        self.protos.append(helper.make_node(op, inputs, outputs, domain=domain, **attrs))

    def _no_scales(self) -> list[str]:
        if self.opset >= AXES_ARE_AN_INPUT["ReduceSum"]:
            return ["", ""]
        # Before operator version 13 they are there and empty.
        return [self.constant(f"{self.stem}/none", np.zeros(0, np.float32))] * 2

    def _roll(self, node: Node, x: str) -> None:
        for axis, shift in zip(node.attrs["axes"], node.attrs["shifts"], strict=True):
            at = self._integers(f"axis{axis}", [axis])
            cut = self._integers(f"cut{axis}", [-shift])
            least, most = self._integers("least", [LEAST]), self._integers("most", [MOST])
            end = self._add("Slice", [x, cut, most, at])
            start = self._add("Slice", [x, least, cut, at])
            x = self._add("Concat", [end, start], axis=axis)
        self._last(x)

    def _recurrent(
        self, node: Node, inputs: list[str], outputs: list[str], attrs: dict[str, Any]
    ) -> None:
        first = f"{self.stem}/directions"
        self.protos.append(helper.make_node(node.op, inputs, [first, *outputs[1:]], **attrs))
        if not attrs.get("layout"):
            first = self._add("Transpose", [first], perm=[0, 2, 1, 3])
        self._last(self._add("Reshape", [first, self._integers("shape", [0, 0, -1])]))

    def _hard_swish(self, node: Node, inputs: list[str]) -> None:
        gate = self._add("HardSigmoid", inputs, alpha=1 / 6, beta=0.5)
        self._last(self._add("Mul", [*inputs, gate]))

    def _gelu(self, node: Node, inputs: list[str]) -> None:
        (x,) = inputs
        if node.attrs.get("approximate") == "tanh":
            cube = self._add("Mul", [x, self._add("Mul", [x, x])])
            cubic = self._add("Mul", [cube, self._number("factor", 0.044715)])
            inner = self._add("Add", [x, cubic])
            root = self._number("root", math.sqrt(2 / math.pi))
            share = self._add("Tanh", [self._add("Mul", [inner, root])])
        else:
            inner = self._add("Mul", [x, self._number("root", math.sqrt(0.5))])
            share = self._add("Erf", [inner])
        share = self._add("Add", [share, self._number("one", 1.0)])
        share = self._add("Mul", [share, self._number("half", 0.5)])
        self._last(self._add("Mul", [x, share]))

    def _layer_norm(self, node: Node, inputs: list[str]) -> None:
        x, gamma, *beta = inputs
        off = self._add("Sub", [x, self._add("ReduceMean", [x], axes=[-1])])
        variance = self._add("ReduceMean", [self._add("Mul", [off, off])], axes=[-1])
        variance = self._add("Add", [variance, self._number("epsilon", node.attrs["epsilon"])])
        y = self._add("Mul", [self._add("Div", [off, self._add("Sqrt", [variance])]), gamma])
        self._last(self._add("Add", [y, *beta]) if beta else y)

    def _group_norm(self, node: Node, inputs: list[str]) -> None:
        x, gamma, beta = inputs
        shape, groups = (0, *(node.output.shape or ())[1:]), node.attrs["num_groups"]
        flat = self._integers("flat", [0, groups, -1])
        ones = self.constant(f"{self.stem}/ones", np.ones(groups, np.float32))
        zeros = self.constant(f"{self.stem}/zeros", np.zeros(groups, np.float32))
        y = self._add("Reshape", [x, flat])
        y = self._add("InstanceNormalization", [y, ones, zeros], epsilon=node.attrs["epsilon"])
        y = self._add("Reshape", [y, self._integers("shape", shape)])
        one_each = self._integers("channels", [-1] + [1] * (len(shape) - 2))
        y = self._add("Mul", [y, self._add("Reshape", [gamma, one_each])])
        self._last(self._add("Add", [y, self._add("Reshape", [beta, one_each])]))

    def _add(self, op: str, inputs: Sequence[str], **attrs: Any) -> str:
        """A further node; the name of what it computes."""
        output = f"{self.stem}/{op.lower()}_{len(self.protos)}"
        self.protos.append(helper.make_node(op, inputs, [output], **attrs))
        return output

    def _last(self, name: str) -> None:
        """Lets what was computed have the name of the node's output."""
        assert self.protos[-1].output[0] == name
        self.protos[-1].output[0] = self.stem

    def _integers(self, role: str, numbers: Sequence[int]) -> str:
        return self.constant(f"{self.stem}/{role}", np.array(numbers, np.int64))

    def _number(self, role: str, number: float, dtype: type = np.float32) -> str:
        return self.constant(f"{self.stem}/{role}", np.array(number, dtype))


def _attribute(value: Any) -> Any:
    return numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
