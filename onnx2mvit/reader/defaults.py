"""Attributes that a node leaves out, as its operator has them by default."""

from __future__ import annotations

import onnx
import onnx_ir as ir


def add_defaults(model: ir.Model) -> None:
    """Gives the nodes of a model, which has no functions, the attributes that they leave out.

    onnx-ir's pass does so as well, and asks onnx for the operator of every node anew.
    """
    known: dict[tuple[str, str, int], list[ir.Attr]] = {}
    for node in model.graph:
        version = node.version or model.opset_imports.get(node.domain)
        if version is None:
            continue
        operator = node.domain, node.op_type, version
        if operator not in known:
            known[operator] = _defaults(*operator)
        for attr in known[operator]:
            if attr.name not in node.attributes:
                node.attributes[attr.name] = attr


def _defaults(domain: str, op: str, version: int) -> list[ir.Attr]:
    try:
        schema = onnx.defs.get_schema(op, version, domain=domain)
    except onnx.defs.SchemaError:
        return []
    left_out = [attr.default_value for attr in schema.attributes.values() if not attr.required]
    given = [each for each in left_out if each and each.type != onnx.AttributeProto.UNDEFINED]
    return [ir.serde.deserialize_attribute(each) for each in given]
