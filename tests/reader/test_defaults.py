"""Attributes that a node leaves out: what onnx-ir's own pass gives it, in its order."""

import onnx
import onnx_ir as ir
import pytest
from onnx import helper
from onnx_ir.passes.common import AddDefaultAttributesPass

from onnx2mvit.reader.defaults import add_defaults

OPERATORS = ("Conv", "Gemm", "LeakyRelu", "LayerNormalization", "Resize", "Softmax", "TopK")


@pytest.mark.parametrize("opset", [11, 17, 22])
def test_they_are_those_of_onnx(opset: int) -> None:
    nodes = [helper.make_node(op, ["x"], [f"{op}{n}"]) for op in OPERATORS for n in range(2)]
    nodes += [
        helper.make_node("Conv", ["x"], ["c"], group=2, auto_pad="VALID"),
        helper.make_node("Nothing", ["x"], ["n"]),
        helper.make_node("Softmax", ["x"], ["s"], domain="elsewhere"),
    ]
    graph = helper.make_graph(nodes, "g", [], [])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    ours, theirs = ir.from_proto(proto), ir.from_proto(proto)
    add_defaults(ours)
    AddDefaultAttributesPass()(theirs)
    assert onnx.printer.to_text(ir.to_proto(ours)) == onnx.printer.to_text(ir.to_proto(theirs))
    assert "alpha" in ours.graph[4].attributes
