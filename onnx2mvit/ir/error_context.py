"""What is said where a node is not what it should be, and so breaks code that trusts it."""

from __future__ import annotations

import traceback
from pathlib import Path

from onnx2mvit.base.quiet import one_line
from onnx2mvit.errors import UnsupportedError
from onnx2mvit.ir.graph import Node


def malformed_node(node: Node, who: str, error: Exception) -> UnsupportedError:
    """The error for users; `who` is the rule or pattern, whose file and line are named too."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return UnsupportedError(
        f"node {node.scope or node.name or node.output.name!r} ({node.op}) cannot be converted: "
        f"its inputs and attributes do not fit together, or {who} has a fault "
        f"({one_line(error)}; {Path(last.filename).name}, line {last.lineno})"
    )
