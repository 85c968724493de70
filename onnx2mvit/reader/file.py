"""The file itself: whether it is ONNX, and what it says of itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import google.protobuf.message
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper, version_converter

from onnx2mvit.base.quiet import all_lines, one_line
from onnx2mvit.base.user_files import sha256_of
from onnx2mvit.errors import InvalidModelError, UnsupportedError
from onnx2mvit.ir.graph import LEAST_OPSET, Source
from onnx2mvit.reader.counted import may_drop_batch
from onnx2mvit.reader.cut import cut
from onnx2mvit.reader.formats import by_content, by_name
from onnx2mvit.reader.limits import refuse_many
from onnx2mvit.reader.mapped import load_mapped
from onnx2mvit.reader.preprocessing import of_metadata
from onnx2mvit.reader.shapes import is_dynamic, open_axes
from onnx2mvit.reader.validation import BROKEN_DATA, check_places

# What onnx raises where it cannot bring operators to a newer opset.
NO_UPGRADE = (
    *(RuntimeError, version_converter.ConvertError),
    *(onnx.shape_inference.InferenceError, onnx.checker.ValidationError),
)
OPSETS = range(LEAST_OPSET, 26)


def check_file(path: Path) -> str:
    """The SHA-256 of a file that ONNX's checker lets pass.

    Raises:
        InvalidModelError: it does not, is something else, or may not be read.
    """
    try:
        str(path).encode()
        if not path.exists():
            raise InvalidModelError(f"{path} does not exist")
        if other := by_content(path) if path.is_file() or path.is_dir() else None:
            raise InvalidModelError(f"{path} is {other}")
        if not path.is_file():
            raise InvalidModelError(f"{path} is not a file")
        if path.stat().st_size == 0:
            raise InvalidModelError(f"{path} is empty")
        digest = sha256_of(path)
        onnx.checker.check_model(str(path))
    except UnicodeEncodeError as error:
        raise InvalidModelError(f"{path} has a name that is not UTF-8: rename it") from error
    except PermissionError as error:
        raise InvalidModelError(f"{path} may not be read: permission denied") from error
    except (onnx.checker.ValidationError, google.protobuf.message.DecodeError) as error:
        if "parse proto" in str(error) or "ir_version set" in str(error):
            damaged = "not an ONNX model, or it was cut off: export or download it again"
            other = by_name(path) or damaged
            raise InvalidModelError(f"{path} is {other}") from error
        if missing := _missing_beside(path):
            raise InvalidModelError(
                f"{path} keeps weights in {missing!r}, which is not there: put that file beside it"
            ) from error
        raise InvalidModelError(f"{path} is not a valid ONNX model: {all_lines(error)}") from error
    except (RuntimeError, ValueError, OSError) as error:
        why = getattr(error, "strerror", None) or one_line(error)
        raise InvalidModelError(f"{path} is not an ONNX model: {why}") from error
    return digest


def _missing_beside(path: Path) -> str | None:
    """The first of the files with weights, in the folder of a model, that is not there."""
    try:
        tensors = onnx.load(path, load_external_data=False).graph.initializer
    except google.protobuf.message.DecodeError:
        return None
    for entry in (entry for tensor in tensors for entry in tensor.external_data):
        here = entry.key == "location" and Path(entry.value).name == entry.value
        if here and not (path.parent / entry.value).exists():
            return str(entry.value)
    return None


def load(path: Path, outputs: Sequence[str] = ()) -> ir.Model:
    """The model of a file that was checked; its data is read when it is asked for.

    Args:
        path: of the file.
        outputs: tensors at which it is cut; none for all of it.

    Raises:
        InvalidModelError: it cannot be made of it.
        UnsupportedError: it has too many nodes.
        UsageError: it has no tensor of one of these names.
    """
    try:
        proto, weights = load_mapped(path)
        _cut(proto, outputs)
        refuse_many(len(proto.graph.node), path.name)
        model = ir.from_proto(proto)
        ir.external_data.set_base_dir(model.graph, path.parent)
        for name in weights.keys() & model.graph.initializers.keys():
            model.graph.initializers[name].const_value = ir.Tensor(weights[name], name=name)
        return _with_open_lengths(model)
    except (google.protobuf.message.DecodeError, ir.serde.SerdeError, *BROKEN_DATA) as error:
        check_places(path)
        raise InvalidModelError(f"{path} cannot be read as ONNX: {one_line(error)}") from error


def upgraded(path: Path, model: ir.Model, outputs: Sequence[str] = ()) -> ir.Model:
    """The model of a file in operators of `LEAST_OPSET`, where its own are older.

    Raises:
        UnsupportedError: onnx cannot bring them there.
    """
    opset = model.opset_imports[""]
    if opset >= LEAST_OPSET:
        return model
    try:
        proto = onnx.load(path)
        _cut(proto, outputs)
        proto = version_converter.convert_version(proto, LEAST_OPSET)
        _resize_as_before(proto)
        return _with_open_lengths(ir.from_proto(proto))
    except (*NO_UPGRADE, *BROKEN_DATA) as error:
        raise UnsupportedError(
            f"{path} uses opset {opset}, and onnx cannot bring it to {LEAST_OPSET}: "
            f"{one_line(error)}. Export it again with one from {LEAST_OPSET} to {OPSETS[-1]}."
        ) from error


def _cut(proto: onnx.ModelProto, outputs: Sequence[str]) -> None:
    if outputs:
        cut(proto, outputs)


def _resize_as_before(proto: onnx.ModelProto) -> None:
    """Below opset 11 positions count from the corner, which onnx's converter does not say.

    The nearest pixel is the one before, or where onnxruntime makes images smaller the one after.
    """
    constants = {each.name: each for each in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
        elif node.op_type == "Resize":
            scales = constants.get(node.input[2])
            smaller = scales is not None and numpy_helper.to_array(scales).max() <= 1
            how = {"coordinate_transformation_mode": "asymmetric"}
            how["nearest_mode"] = "ceil" if smaller else "floor"
            node.attribute.extend(helper.make_attribute(*each) for each in how.items())


def _with_open_lengths(model: ir.Model) -> ir.Model:
    """PaddlePaddle writes -1 where a length is open."""
    for value in model.graph.inputs:
        if value.shape is not None:
            dims = (None if isinstance(dim, int) and dim < 0 else dim for dim in value.shape)
            said = [value.shape.get_denotation(axis) for axis in range(len(value.shape))]
            value.shape = ir.Shape(dims, said)
    return model


def source_of(path: Path, model: ir.Model, digest: str = "", outputs: Sequence[str] = ()) -> Source:
    """What a model says of itself; `digest` is the SHA-256 of its file, cut at these `outputs`.

    Raises:
        UnsupportedError: there is no opset, or a newer one than those that are read.
    """
    opset = model.opset_imports.get("", 0)
    if not 1 <= opset <= OPSETS[-1]:
        raise UnsupportedError(
            f"{path} uses opset {opset}; supported are {LEAST_OPSET} to {OPSETS[-1]}, and older "
            "ones that onnx can bring there. Export it again with one of those."
        )
    producer = " ".join(filter(None, (model.producer_name, model.producer_version)))
    return Source(
        file=path.name,
        sha256=digest,
        opset=opset,
        producer=producer or "unknown",
        nodes=len(model.graph),
        outputs=tuple(outputs),
        tensors=frozenset(
            value.name for node in model.graph for value in node.outputs if value.name
        ),
        weights=model.metadata_props.get("onnx2mvit.weights", "as in the file"),
        dynamic_batch=is_dynamic(model, of_batch=True),
        dynamic_size=is_dynamic(model, of_batch=False),
        open_axes=open_axes(model),
        squeezes=may_drop_batch(model),
        preprocessing=of_metadata(model.metadata_props),
    )
