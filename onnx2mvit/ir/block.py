"""A Block: a piece of the network that a pattern recognised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.ir.graph import Node, Value

if TYPE_CHECKING:
    from onnx2mvit.lowering.operators import Code
    from onnx2mvit.matcher.pattern import Pattern


@dataclass(eq=False, repr=False)
class Block:
    """A matched piece of the graph with kind, name, hyperparameters, tensors and children.

    `role` is the place it has in its parent ("expand"; "layer.0" for the first of several),
    `name` the place in torch's module tree, or a numbered kind where the file has no names.
    `weights` is filled for leaves alone, in Keras's own layout and by Keras's variable names.
    `code` is there where no pattern took the node, but its operator could be converted.
    """

    pattern: Pattern
    params: dict[str, Any]
    inputs: tuple[Value, ...]
    output: Value
    matched: tuple[Node, ...]
    weights: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    children: tuple[Block, ...] = ()
    role: str = ""
    name: str = ""
    path: str = ""
    code: Code | None = None

    @property
    def kind(self) -> str:
        """What it is: the name of its pattern."""
        return self.pattern.kind

    @property
    def nodes(self) -> int:
        """How many nodes of the simplified graph lie in it."""
        return sum(1 for _ in self.onnx_nodes())

    def onnx_nodes(self) -> Iterator[Node]:
        """The nodes of the simplified graph that lie in it."""
        for node in self.matched:
            if node.block is None:
                yield node
            else:
                yield from node.block.onnx_nodes()

    def walk(self) -> Iterator[Block]:
        """This block and everything below it, parents first."""
        yield self
        for child in self.children:
            yield from child.walk()

    def child(self, role: str) -> Block:
        """The child with this role; KeyError if there is none."""
        for block in self.children:
            if block.role == role:
                return block
        raise KeyError(role)

    def __getattr__(self, name: str) -> Any:
        # Patterns read hyperparameters as attributes: m.project.filters.
        try:
            return self.__dict__["params"][name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no hyperparameter {name!r}") from None

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.params.items())
        return f"<{self.kind} {self.name or '?'} ({arguments})>"
