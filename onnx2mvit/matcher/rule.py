"""What a rule is: an expression, and what takes its place; the reader applies it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from onnx2mvit.ir.graph import Graph, Node, Value
from onnx2mvit.matcher.expression import Expr, Var
from onnx2mvit.matcher.language import Ops
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.rooted import Mismatch, Rooted

Shape = tuple[int, ...]


class Rule(Rooted, ABC):
    """Replaces the last node of what it matches; what nobody reads any more goes by itself.

    `needed_by` says whose files it is for, in the table in docs/rules.md. Where it is `forward`, it
    is applied from the input to the output, so that it hands something on through the graph.
    """

    needed_by: ClassVar[str] = ""
    forward: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The rule's name, as reports show it."""
        return type(self).__name__

    @abstractmethod
    def onnx(self, op: Ops, x: Var) -> Expr:
        """What stands before, as in `Pattern.onnx`: `op` makes expressions, `x` is what is read."""

    def concerns(self, graph: Graph) -> bool:
        """False for a graph that it has nothing to do in, whatever its nodes are."""
        return True

    @abstractmethod
    def rewrite(self, m: Match, new: Builder) -> Value | tuple[Value, ...]:
        """What stands after.

        Args:
            m: what was found.
            new: makes nodes and constants.

        Returns:
            A value, which takes the place of the first output, or a tuple for all outputs.

        Raises:
            Mismatch: there is nothing to do.
        """


class Builder:
    """`new.MatMul(x, w)` makes a node in the place of the match and returns its output."""

    def __init__(self, root: Node) -> None:
        self.root = root
        self.nodes: list[Node] = []

    def __getattr__(self, op: str) -> Callable[..., Value]:
        def make(*inputs: Value | None, shape: Shape | None = None, **attrs: Any) -> Value:
            present = [value for value in inputs if value is not None]
            number = len(self.nodes)
            output = Value(
                name=f"{self.root.output.name}/{op}_{number}",
                shape=shape if shape is not None else infer(op, present, attrs),
                dtype=self.root.output.dtype,
            )
            kept = inputs if inputs[-1] is not None else inputs[:-1]
            self.nodes.append(
                Node(
                    op,
                    kept,
                    (output,),
                    attrs,
                    name=self.root.name,
                    scope=self.root.scope,
                    position=(*self.root.position, number),
                )
            )
            return output

        return make

    def like_root(self, *inputs: Value | None, op: str | None = None, **attrs: Any) -> Value:
        """A node like the match's last one.

        Args:
            inputs: what it reads; None for an operand that is absent.
            op: its operator; by default the same.
            attrs: attributes that it has beside those, or instead.

        Returns:
            What it makes, of the shape and dtype of the last one's first output.
        """
        make: Callable[..., Value] = getattr(self, op or self.root.op)
        return make(*inputs, shape=self.root.output.shape, **attrs)

    def like_all(
        self, *inputs: Value | None, shapes: Sequence[Shape | None], **attrs: Any
    ) -> tuple[Value, ...]:
        """A node like the match's last one, with all of its outputs.

        Args:
            inputs: what it reads; None for an operand that is absent.
            shapes: of its outputs; None for one that is as before.
            attrs: attributes that it has beside those, or instead.
        """
        first = self.like_root(*inputs, **attrs)
        first.shape = shapes[0]
        further = [
            Value(f"{first.name}_{number}", shape, output.dtype)
            for number, (shape, output) in enumerate(zip(shapes, self.root.outputs, strict=True))
        ]
        self.nodes[-1].outputs = (first, *further[1:])
        return self.nodes[-1].outputs

    def then(self, node: Node, *inputs: Value | None) -> list[Node]:
        """The nodes that were made, and behind them this one, which reads `inputs` instead."""
        place = (*node.position, len(self.nodes))
        return [*self.nodes, replace(node, inputs=inputs, position=place)]

    def making(self, *outputs: Value) -> list[Node]:
        """The nodes that were made, the last of which has these outputs."""
        *nodes, last = self.nodes
        return [*nodes, replace(last, outputs=outputs)]

    def constant(self, array: np.ndarray[Any, Any], name: str) -> Value:
        """A constant, whose shape and dtype are the `array`'s."""
        return Value(f"{self.root.output.name}/{name}", array.shape, array.dtype, array)


def infer(op: str, inputs: list[Value], attrs: dict[str, Any]) -> Shape | None:
    """The output's shape of the few operators that rules insert."""
    shapes = [value.shape for value in inputs]
    if any(shape is None for shape in shapes):
        return None
    known = [shape for shape in shapes if shape is not None]
    match op:
        case "Add" | "Mul":
            return broadcast(*known)
        case "MatMul":
            batch = broadcast(known[0][:-2], known[1][:-2])
            return (*batch, known[0][-2], known[1][-1])
        case "Softmax":
            return known[0]
        case "Transpose":
            return tuple(known[0][axis] for axis in attrs["perm"])
    return None


def broadcast(*shapes: Shape) -> Shape:
    """The shape of all of these together; Mismatch if there is none."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError as error:
        raise Mismatch(f"shapes {shapes} do not fit together") from error


def elements(shape: Shape | None) -> int:
    """How many elements a tensor has; -1 where its shape is not known."""
    return -1 if shape is None else math.prod(shape)
