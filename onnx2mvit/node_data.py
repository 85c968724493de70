"""The errors of a proof on the nodes of the original file, as an overlay for Model Explorer.

Google's Model Explorer shows ONNX files by its onnx adapter; "Custom node data" loads this file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

if TYPE_CHECKING:
    from onnx2mvit.verification import Verification

NAME = "node_data.json"
# Up to the value; green is noise, yellow is allowed, red is not.
FINE, ALLOWED, WRONG = "#b7e1cd", "#fce8b2", "#f4c7c3"
NOISE = 10  # this part of what is allowed
MOST = 1e308


def node_data(path: Path, proof: Verification) -> dict[str, Any]:
    """The data by the name of the graph, its nodes by name, or by their first output without one.

    A node has the error of the first border that it leads to: of the tensor that it makes, if
    that was compared, else of the layer that it became a part of. Errors are relative to the
    largest value of the tensor. Nodes that do not depend on the input have none.
    """
    graph = onnx.load(path, load_external_data=False).graph
    places = {name: place for place, node in enumerate(graph.node) for name in node.output}
    makers = {name: node for node in graph.node for name in node.output if name}
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
            maker = makers.get(tensor)
            if maker is None or tensor not in depend or _key(maker) in errors:
                continue
            errors[_key(maker)] = min(border["max_rel_error"], MOST)
            stack.extend(maker.input)
    thresholds = [
        {"value": proof.tolerance / NOISE, "bgColor": FINE},
        {"value": proof.tolerance, "bgColor": ALLOWED},
        {"value": MOST, "bgColor": WRONG},
    ]
    results = {key: {"value": error} for key, error in errors.items()}
    return {graph.name: {"results": results, "thresholds": thresholds}}


def _key(node: onnx.NodeProto) -> str:
    return node.name or node.output[0]
