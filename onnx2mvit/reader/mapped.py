"""An ONNX file whose large weights stay where they are: they are looked at through the file.

Protobuf copies all of a file, and whoever makes something of that copies it again: the graph, each
session of onnxruntime, each look at names. So the places of large weights are found in the file,
by protobuf's wire format (https://protobuf.dev/programming-guides/encoding), and what is parsed
is all the rest.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import google.protobuf.message
import numpy as np
import onnx
from onnx import helper, serialization

from onnx2mvit.base.memory import mapped, place_of

Array = np.ndarray[Any, Any]
LARGE = 1 << 16  # bytes of a tensor that may be kept outside of a model
# Little-endian, as ONNX has them.
PLAIN: dict[int, np.dtype[Any]] = {
    onnx.TensorProto.FLOAT: np.dtype("<f4"),
    onnx.TensorProto.DOUBLE: np.dtype("<f8"),
    onnx.TensorProto.FLOAT16: np.dtype("<f2"),
}
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # protobuf's kinds of fields
GRAPH, INITIALIZER = 7, 5  # the fields of onnx.proto, of a model and of a graph
DIMS, DATA_TYPE, NAME, RAW_DATA = 1, 2, 8, 9  # of a tensor
TELL_NOTHING = (12, 16)  # a tensor's text and metadata

Field = tuple[
    int, int, int, int, int
]  # number, kind, where it, its content, and what follows begin


def load_mapped(path: Path) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """The model of a file, and its large weights by name, which the model only refers to.

    Those in external data the model refers to as it does in the file, and small ones are in it.

    Args:
        path: of the file.

    Returns:
        The model, and read-only views of the file in the shape and the dtype that it says.

    Raises:
        google.protobuf.message.DecodeError: it is no model.
    """
    registry = serialization.registry
    if registry.get_format_from_file_extension(path.suffix) in (None, "protobuf"):
        try:
            weights: dict[str, Array] = {}
            parts = _without_weights(mapped(path), weights)
            return onnx.ModelProto.FromString(parts), weights
        except (ValueError, IndexError, google.protobuf.message.DecodeError):
            pass  # it is empty, cut off, or no model: protobuf has words for that
    return onnx.load(path, load_external_data=False), {}


def reference_to(name: str, array: Array) -> onnx.TensorProto:
    """A tensor of a model whose data is kept beside the model.

    Args:
        name: of the tensor.
        array: the data, in the file's order of axes. Where it lies in a file as it is, that is
            what the tensor refers to.
    """
    kind, place = helper.np_dtype_to_tensor_dtype(array.dtype), place_of(array)
    outside = onnx.TensorProto.EXTERNAL
    made = onnx.TensorProto(name=name, data_type=kind, dims=array.shape, data_location=outside)
    made.external_data.add(key="location", value=name if place is None else place[0].name)
    if place is not None:
        made.external_data.add(key="offset", value=str(place[1]))
        made.external_data.add(key="length", value=str(array.nbytes))
    return made


def _without_weights(data: mmap.mmap, weights: dict[str, Array]) -> bytes:
    """The content of a file with references for its large weights, which `weights` gets."""
    parts = []
    for number, kind, start, content, end in _fields(data, 0, len(data)):
        if (number, kind) == (GRAPH, BYTES):
            parts.append(_message(GRAPH, _graph(data, content, end, weights)))
        else:
            parts.append(data[start:end])
    return b"".join(parts)


def _graph(data: mmap.mmap, start: int, end: int, weights: dict[str, Array]) -> bytes:
    parts: list[bytes] = []
    kept = start
    for number, kind, first, content, after in _fields(data, start, end):
        if (number, kind) == (INITIALIZER, BYTES) and after - content >= LARGE:
            reference = _taken_out(data, content, after, weights)
            if reference is not None:
                parts += data[kept:first], _message(INITIALIZER, reference.SerializeToString())
                kept = after
    return b"".join([*parts, data[kept:end]])


def _taken_out(
    data: mmap.mmap, start: int, end: int, weights: dict[str, Array]
) -> onnx.TensorProto | None:
    """Takes a weight out of a graph; None where it is not plain, and is left to protobuf."""
    rest, raw = [], (0, 0)
    for number, kind, first, content, after in _fields(data, start, end):
        if (number, kind) == (RAW_DATA, BYTES):
            raw = content, after
        elif number in (DIMS, DATA_TYPE, NAME):
            rest.append(data[first:after])
        elif number not in TELL_NOTHING:
            return None
    tensor = onnx.TensorProto.FromString(b"".join(rest))
    dtype, size = PLAIN.get(tensor.data_type), raw[1] - raw[0]
    if dtype is None or size < LARGE or not tensor.name or tensor.name in weights:
        return None
    if min(tensor.dims, default=1) < 0 or prod(tensor.dims) * dtype.itemsize != size:
        return None
    flat = np.frombuffer(data, dtype, size // dtype.itemsize, raw[0])
    weights[tensor.name] = flat.reshape(tensor.dims)
    return reference_to(tensor.name, weights[tensor.name])


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[Field]:
    """The fields of a message.

    Raises:
        ValueError: it is none.
        IndexError: the file ends in it.
    """
    while start < end:
        tag, content = _varint(data, start)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            _, after = _varint(data, content)
        elif kind == BYTES:
            length, content = _varint(data, content)
            after = content + length
        elif kind in (FIXED32, FIXED64):
            after = content + (4 if kind == FIXED32 else 8)
        else:
            raise ValueError(f"a field of the kind {kind}")
        if after > end or not number:
            raise ValueError("a field is longer than its message")
        yield number, kind, start, content, after
        start = after


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    """A number, and where what follows it begins."""
    value = data[at]
    if value < 0x80:
        return value, at + 1
    value, shift = value & 0x7F, 7
    while shift < 70:
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
        shift += 7
    raise ValueError("a number of more than ten bytes")


def _message(number: int, content: bytes) -> bytes:
    """A field that holds a message."""
    length, head = len(content), bytearray([number << 3 | BYTES])
    while length >= 0x80:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + content
