"""The stages that need no Keras, one after the other: read, lift, lower."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onnx2mvit.base.arguments import check_arguments
from onnx2mvit.errors import InvalidModelError, UnsupportedError
from onnx2mvit.ir.image_size import ImageSize, sizes_beside
from onnx2mvit.ir.network import Network
from onnx2mvit.lifter import lift
from onnx2mvit.lifter.merge import merge_branches as merged
from onnx2mvit.lowering import compared, lower
from onnx2mvit.matcher.pattern import Pattern
from onnx2mvit.matcher.user_patterns import all_patterns, own_rules
from onnx2mvit.reader import read
from onnx2mvit.reader.preprocessing import Given


def inspect(
    path: str | Path,
    patterns: Sequence[str | Path] = (),
    size: tuple[int, int] | None = None,
    outputs: Sequence[str] = (),
    merge_branches: bool = False,
    preprocessing: Given = None,
) -> Network:
    """Reads, lifts and lowers a file, without Keras.

    Args:
        path: an ONNX file.
        patterns: Python files with patterns of one's own; they are executed.
        size: height and width to read it at, where the file leaves them open.
        outputs: tensors at which it is cut, by their names in the file; none for all of it.
        merge_branches: make one convolution of every sum of branches, the form for inference.
        preprocessing: what its images want, as `convert` takes it.

    Returns:
        The network, with what no pattern took as single operators, and what cannot be converted.

    Raises:
        UsageError: one of the files with patterns cannot be used, there is no such tensor, or
            there are no branches to merge.
        InvalidModelError: it is not a usable ONNX file.
        UnsupportedError: its opset, inputs or data types are not converted.
    """
    check_arguments(locals())
    own = all_patterns(patterns)
    return _inspected(Path(path), own, size, outputs, merge_branches, preprocessing)


def _inspected(
    path: Path,
    patterns: Sequence[Pattern],
    size: tuple[int, int] | None,
    outputs: Sequence[str],
    merge: bool,
    preprocessing: Given,
) -> Network:
    graph = read(path, size, own_rules(patterns), outputs, preprocessing)
    return lower(lift(merged(graph) if merge else graph, patterns))


def at_sizes(
    path: Path, network: Network, patterns: Sequence[Pattern], asked: ImageSize | None
) -> Network:
    """A file that leaves the size of its images open, as far as readings at other sizes agree.

    Args:
        path: the file.
        network: as it was read and lowered at the size that is asked for.
        patterns: those that it was lifted by.
        asked: a size, or any.

    Returns:
        The network, whose layouts say what holds for its size alone. Where it cannot be converted
        at the size that is asked for, though it can be at that which files are read at by default,
        the network is that of the default size: exporters declare sizes open and bake one in.

    Raises:
        UnsupportedError: it is to be for any size, and cannot be converted at another.
    """
    traced, source = network.traced_size, network.graph.source
    how = source.outputs, bool(source.merged), source.preprocessing
    if not network.graph.source.dynamic_size or traced is None:
        return network
    if network.refused:
        usual = network
        if isinstance(asked, tuple):
            usual = _inspected(path, patterns, None, *how)
        return network if usual.refused else usual
    others: list[Network] = []
    beside = sizes_beside(traced, network.open_size)
    for size in beside if asked == "any" else beside[:1]:
        try:
            other = _inspected(path, patterns, size, *how)
        except (InvalidModelError, UnsupportedError):  # a Reshape may not go out at that size
            continue
        if not other.refused:
            others.append(other)
        elif asked == "any" and network.coverage.single_ops and size in beside[:2]:
            # The last are odd, now or later: what halves its images may not take them.
            node, why = next(iter(other.refused.items()))
            raise UnsupportedError(
                f"the model cannot be made for any size: at {size[0]}×{size[1]}, node "
                f"{node.name or node.output.name!r} ({node.op}) cannot be converted: {why}"
            )
    return compared(network, others) if others else network
