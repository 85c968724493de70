"""The file itself: whether it is ONNX, and what it says of itself."""

from __future__ import annotations

import hashlib
from pathlib import Path

import google.protobuf.message
import onnx
import onnx_ir as ir

from onnx2mvit.base.quiet import all_lines, one_line
from onnx2mvit.errors import InvalidModelError, UnsupportedError
from onnx2mvit.ir.graph import Source
from onnx2mvit.reader.shapes import is_dynamic
from onnx2mvit.reader.validation import BROKEN_DATA, check_places

OPSETS = range(11, 26)


def check_file(path: Path) -> str:
    """The SHA-256 of a file that ONNX's checker lets pass.

    Raises:
        InvalidModelError: it does not, or may not be read.
    """
    if not path.exists():
        raise InvalidModelError(f"{path} does not exist")
    if not path.is_file():
        raise InvalidModelError(f"{path} is not a file")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if path.stat().st_size == 0:
            raise InvalidModelError(f"{path} is empty")
        onnx.checker.check_model(str(path))
    except PermissionError as error:
        raise InvalidModelError(f"{path} may not be read: permission denied") from error
    except (onnx.checker.ValidationError, google.protobuf.message.DecodeError) as error:
        if "parse proto" in str(error) or "ir_version set" in str(error):
            raise InvalidModelError(
                f"{path} is not an ONNX model, or it was cut off: export or download it again"
            ) from error
        raise InvalidModelError(f"{path} is not a valid ONNX model: {all_lines(error)}") from error
    except (RuntimeError, ValueError, OSError) as error:
        raise InvalidModelError(f"{path} is not an ONNX model: {one_line(error)}") from error
    return digest


def load(path: Path) -> ir.Model:
    """The model of a file that was checked; its data is read when it is asked for.

    Raises:
        InvalidModelError: it cannot be made of it.
    """
    try:
        return ir.load(path)
    except (google.protobuf.message.DecodeError, ir.serde.SerdeError, *BROKEN_DATA) as error:
        check_places(path)
        raise InvalidModelError(f"{path} cannot be read as ONNX: {one_line(error)}") from error


def source_of(path: Path, model: ir.Model, digest: str = "") -> Source:
    """What a model says of itself; `digest` is the SHA-256 of its file.

    Raises:
        UnsupportedError: its opset is not one of those that are read.
    """
    opset = model.opset_imports.get("", 0)
    if opset not in OPSETS:
        raise UnsupportedError(
            f"{path} uses opset {opset}; supported are {OPSETS[0]} to {OPSETS[-1]}. "
            "Export it again with one of those."
        )
    producer = " ".join(filter(None, (model.producer_name, model.producer_version)))
    return Source(
        file=path.name,
        sha256=digest,
        opset=opset,
        producer=producer or "unknown",
        nodes=len(model.graph),
        weights=model.metadata_props.get("onnx2mvit.weights", "as in the file"),
        dynamic_batch=is_dynamic(model, slice(0, 1)),
        dynamic_size=is_dynamic(model, slice(2, None)),
    )
