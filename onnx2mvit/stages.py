"""The stages that need no Keras, one after the other: read, lift, lower."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onnx2mvit.ir.network import Network
from onnx2mvit.lifter import lift
from onnx2mvit.lowering import lower
from onnx2mvit.matcher.user_patterns import all_patterns, own_rules
from onnx2mvit.reader import read


def inspect(
    path: str | Path,
    patterns: Sequence[str | Path] = (),
    size: tuple[int, int] | None = None,
    outputs: Sequence[str] = (),
) -> Network:
    """Reads, lifts and lowers a file, without Keras.

    Args:
        path: an ONNX file.
        patterns: Python files with patterns of one's own; they are executed.
        size: height and width to read it at, where the file leaves them open.
        outputs: tensors at which it is cut, by their names in the file; none for all of it.

    Returns:
        The network, with what no pattern took as single operators, and what cannot be converted.

    Raises:
        UsageError: one of the files with patterns cannot be used, or there is no such tensor.
        InvalidModelError: it is not a usable ONNX file.
        UnsupportedError: its opset, inputs or data types are not converted.
    """
    used = all_patterns(patterns)
    return lower(lift(read(path, size, own_rules(used), outputs), used))
