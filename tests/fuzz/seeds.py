"""Small models to start fuzzing from: cut out of real exports, and the small blocks of our tests.

A piece of an export is so many nodes in a row that read one image and nothing else that is
computed; it keeps the names, metadata and local functions of the export, at its true widths.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx

from tests.performance.matching import network
from tests.support import skeletons

LENGTHS = (3, 8, 20, 45)
LARGEST = 150_000  # bytes of a piece
OF_EACH = 3  # pieces of each length that one export gives


def seeds() -> list[bytes]:
    """All of them, the smallest first."""
    found = [network(1).SerializeToString()]
    with tempfile.TemporaryDirectory() as folder:
        for packed in sorted(skeletons.FOLDER.glob("*.onnx.xz")):
            export = onnx.load(skeletons.fill(packed, Path(folder)))
            found += [piece.SerializeToString() for piece in pieces(export)]
    return sorted(dict.fromkeys(found), key=len)


def pieces(export: onnx.ModelProto) -> Iterator[onnx.ModelProto]:
    """Some pieces of every length, from all over the graph."""
    known = onnx.shape_inference.infer_shapes(export).graph
    shapes = {value.name: value for value in (*known.value_info, *known.input)}
    held = {tensor.name: tensor for tensor in export.graph.initializer}
    for length in LENGTHS:
        last = max(1, len(export.graph.node) - length)
        found = 0
        for start in (last * step // 40 for step in range(40)):
            nodes = export.graph.node[start : start + length]
            piece = _piece(export, list(nodes), shapes, held)
            if piece is not None and piece.ByteSize() <= LARGEST and found < OF_EACH:
                found += 1
                yield piece


def _piece(
    export: onnx.ModelProto,
    nodes: list[onnx.NodeProto],
    shapes: dict[str, onnx.ValueInfoProto],
    held: dict[str, onnx.TensorProto],
) -> onnx.ModelProto | None:
    inside = {name for node in nodes for name in node.output}
    read = {name: None for node in nodes for name in node.input if name}
    outside = [name for name in read if name not in inside and name not in held]
    if len(outside) != 1 or outside[0] not in shapes:
        return None
    image = shapes[outside[0]]
    if len(image.type.tensor_type.shape.dim) != 4:
        return None
    piece = onnx.ModelProto()
    piece.CopyFrom(export)
    piece.ClearField("graph")
    piece.graph.name = export.graph.name
    piece.graph.node.extend(nodes)
    piece.graph.initializer.extend(held[name] for name in read if name in held)
    piece.graph.input.append(image)
    piece.graph.output.append(onnx.ValueInfoProto(name=nodes[-1].output[0]))
    last = shapes.get(nodes[-1].output[0])
    if last is not None:
        piece.graph.output[0].CopyFrom(last)
    return piece
