"""Models of ONNX in another opset than their own, where their operators are what they were."""

from __future__ import annotations

import onnx
from onnx import helper
from onnx.defs import OpSchema, SchemaError, get_schema

from onnx2mvit.reader.file import OPSETS


def opset_of(model: onnx.ModelProto) -> int:
    """The version of ONNX's operators in a model; 0 if it has none."""
    return next((entry.version for entry in model.opset_import if entry.domain == ""), 0)


def schema_of(node: onnx.NodeProto, opset: int) -> OpSchema:
    """What ONNX says of an operator in an opset."""
    return get_schema(node.op_type, max_inclusive_version=opset)


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model of its own."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def at_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The same nodes in another opset."""
    changed = copied(model)
    del changed.opset_import[:]
    changed.opset_import.append(helper.make_opsetid("", opset))
    return changed


def at_a_known_opset(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """The model in an opset that we read, None if its operators are others there."""
    opset = opset_of(model)
    if not opset or any(node.domain for node in model.graph.node):
        return None
    if opset in OPSETS:
        return model
    nearest = min(max(opset, OPSETS[0]), OPSETS[-1])
    if all(same_meaning(node, opset, nearest) for node in model.graph.node):
        return at_opset(model, nearest)
    try:
        return onnx.version_converter.convert_version(model, nearest) if opset < nearest else None
    except RuntimeError:
        return None


def same_meaning(node: onnx.NodeProto, opset: int, other: int) -> bool:
    """True if a node means the same in both opsets: the operator changed its types at most."""
    try:
        ours, theirs = schema_of(node, opset), schema_of(node, other)
    except SchemaError:
        return False
    shared = ours.attributes.keys() & theirs.attributes.keys()

    def signature(schema: OpSchema) -> tuple[object, ...]:
        defaults = {
            name: schema.attributes[name].default_value.SerializeToString() for name in shared
        }
        inputs, outputs = (
            [(each.name, each.option) for each in formal]
            for formal in (schema.inputs, schema.outputs)
        )
        return defaults, inputs, outputs

    known = {attr.name for attr in node.attribute} <= theirs.attributes.keys()
    added = theirs.attributes.keys() <= ours.attributes.keys()
    return known and added and signature(ours) == signature(theirs)


def versions_before(node: onnx.NodeProto, opset: int) -> list[int]:
    """The opsets below this one that we read and in which its operator was another version."""
    seen, found = {schema_of(node, opset).since_version}, []
    for earlier in range(opset - 1, OPSETS[0] - 1, -1):
        try:
            version = schema_of(node, earlier).since_version
        except SchemaError:
            break
        if version not in seen:
            seen.add(version)
            found.append(earlier)
    return found


def takes_these_types(model: onnx.ModelProto) -> bool:
    """True if the operators of a model take what it gives them."""
    try:
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except onnx.shape_inference.InferenceError:
        return False
    return True
