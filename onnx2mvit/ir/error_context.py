"""What is said where something is not what it should be, and so breaks code that trusts it."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import safetensors

from onnx2mvit.base.quiet import one_line
from onnx2mvit.errors import MALFORMED, InvalidModelError, UnsupportedError
from onnx2mvit.ir.graph import Node


def fault(node: Node, who: str, error: Exception) -> UnsupportedError:
    """The error for users; `who` is the rule or pattern, whose file and line are named too."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return UnsupportedError(
        f"node {node.scope or node.name or node.output.name!r} ({node.op}) cannot be converted: "
        f"its inputs and attributes do not fit together, or {who} has a fault "
        f"({one_line(error)}; {Path(last.filename).name}, line {last.lineno})"
    )


@contextmanager
def loading(target: Path) -> Iterator[None]:
    """Meanwhile, a converted model is loaded, whose files may have been cut off or changed.

    Raises:
        InvalidModelError: they were.
    """
    try:
        yield
    except (safetensors.SafetensorError, ImportError, NameError, SyntaxError, *MALFORMED) as error:
        raise InvalidModelError(
            f"{target} cannot be loaded, a file in it was cut off or changed "
            f"({one_line(error)}): convert the ONNX file again"
        ) from error
