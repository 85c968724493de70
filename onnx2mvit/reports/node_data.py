"""The errors of a proof on the nodes of the original file, as an overlay for Model Explorer.

Google's Model Explorer shows ONNX files by the adapter in model-explorer-onnx; "Add per-node data"
loads this file. It was looked at with versions 0.1.34 and 0.4.2.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import onnx_ir as ir
from onnx_ir.passes import common as passes

from onnx2mvit.reader.mapped import load_mapped

if TYPE_CHECKING:
    from onnx2mvit.verifier import Verification

NAME = "node_data.json"
# Up to the value; green is noise, yellow is allowed, red is not.
FINE, ALLOWED, WRONG = "#b7e1cd", "#fce8b2", "#f4c7c3"
NOISE = 10  # this part of what is allowed
MOST = 1e300  # the page adds them up


def node_data(path: Path, proof: Verification) -> dict[str, Any]:
    """The data by the name of the graph, its nodes by what Model Explorer calls them.

    A node has the error of the first border that it leads to: of the tensor that it makes, if
    that was compared, else of the layer that it became a part of. Errors are relative to the
    largest value of the tensor. Nodes that do not depend on the input have none.
    """
    model, _ = load_mapped(path)
    graph = model.graph
    places = {name: place for place, node in enumerate(graph.node) for name in node.output}
    makers = {
        name: (key, node)
        for key, node in zip(_keys(model), graph.node, strict=True)
        for name in node.output
        if name
    }
    depend = {value.name for value in graph.input} - {value.name for value in graph.initializer}
    errors: dict[str, float] = {}
    for node in graph.node:
        if depend.intersection(node.input):
            depend.update(node.output)
    borders = [border for border in proof.blocks if border["tensor"] in places]
    for border in sorted(borders, key=lambda border: places[border["tensor"]]):
        stack = [border["tensor"]]
        while stack:
            tensor = stack.pop()
            if tensor not in makers or tensor not in depend:
                continue
            key, maker = makers[tensor]
            if key not in errors:
                errors[key] = min(border["max_rel_error"], MOST)
                stack.extend(maker.input)
    thresholds = [
        {"value": proof.tolerance / NOISE, "bgColor": FINE},
        {"value": proof.tolerance, "bgColor": ALLOWED},
        {"value": MOST, "bgColor": WRONG},
    ]
    results = {key: {"value": error} for key, error in errors.items()}
    return {graph.name: {"results": results, "thresholds": thresholds}}


def _keys(model: onnx.ModelProto) -> list[str]:
    """The ids of the nodes: the adapter runs this pass, as a name may be missing.

    Names of tensors would be no way out: those that it shows are not those that keys are sought in.
    """
    made = ir.serde.deserialize_model(model)
    passes.NameFixPass()(made)
    return [node.name or "" for node in made.graph]
