"""The variables of the model function: which of them holds which tensor, and which may be taken."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Container, Iterable

from onnx2mvit.ir.block import Block
from onnx2mvit.ir.graph import Value


class Variables:
    """A variable is free again once nothing is left that reads the tensor in it.

    Args:
        blocks: those that the function calls, in order.
        outputs: the tensors that it gives, which are read in the end.
        taken: names that no variable may have.
    """

    def __init__(
        self, blocks: Iterable[Block], outputs: Iterable[Value], taken: Container[str]
    ) -> None:
        self.taken = taken
        self.readers = Counter(value for block in blocks for value in block.inputs)
        self.readers.update(outputs)
        self.names: dict[Value, str] = {}

    def __contains__(self, value: Value) -> bool:
        return value in self.names

    def __getitem__(self, value: Value) -> str:
        return self.names[value]

    def __setitem__(self, value: Value, name: str) -> None:
        self.names[value] = name

    def keep(self, value: Value) -> None:
        """No other gets the name of the variable with this tensor, from now on."""
        self.readers[value] += 1

    def read_by(self, block: Block) -> None:
        """Notes that a block has been called, which was one of those that read its inputs."""
        self.readers.subtract(block.inputs)
        for value in block.inputs:
            if value is not None and not self.readers[value]:
                self.names.pop(value, None)

    def next_after(self, stem: str) -> str:
        """The name for a block's result: x, unless that is still to be read."""
        return "x" if "x" not in self._held() else self.free(stem)

    def free(self, stem: str) -> str:
        """A name like this for a variable."""
        name, held = stem, self._held()
        if name[0].isdigit() or name in self.taken:
            name = stem = f"x_{name}"
        for number in itertools.count(2):
            if name not in held:
                break
            name = f"{stem}_{number}"
        return name

    def _held(self) -> set[str]:
        """The variables that are still to be read."""
        return {name for value, name in self.names.items() if self.readers[value] > 0}
