"""The overlay for Model Explorer: its shape, and that nodes are called what it calls them.

Both were looked up in ai-edge-model-explorer 0.1.34 with model-explorer-onnx 0.4.2: the names in
NAMED are the ids that its adapter gave to the nodes of these very graphs, and the page showed an
error at each of them.
"""

import json
from pathlib import Path
from typing import Any

import pytest

import onnx2mvit
from tests.support.graphs import model, save

CHAIN = """g (float[N,3,16,16] x) => (float[N,4,16,16] y) {
    a = Conv(x, w0)  b = Relu(a)  c = Conv(b, w1)  y = Relu(c) }"""

# The names of the four nodes in the file, and in Model Explorer.
NAMED = [
    (["/a/Conv", "/a/Relu", "/c/Conv", "/c/Relu"], ["/a/Conv", "/a/Relu", "/c/Conv", "/c/Relu"]),
    (["", "", "", ""], ["node", "node_1", "node_2", "node_3"]),
    (["", "node", "", "node_1"], ["node", "node_1", "node_2", "node_1_1"]),
]


def overlay(folder: Path, names: list[str]) -> dict[str, Any]:
    """What `convert` writes for the chain with these names."""
    made = model(CHAIN, w0=(8, 3, 1, 1), w1=(4, 8, 1, 1))
    for node, name in zip(made.graph.node, names, strict=True):
        node.name = name
    result = onnx2mvit.convert(save(made, folder), folder, name="net")
    read: dict[str, Any] = json.loads((result.folder / "node_data.json").read_text())
    return read


@pytest.mark.parametrize(("names", "ids"), NAMED)
def test_nodes_are_called_what_model_explorer_calls_them(
    tmp_path: Path, names: list[str], ids: list[str]
) -> None:
    assert sorted(overlay(tmp_path, names)["g"]["results"]) == sorted(ids)


def test_the_shape_is_that_of_graph_node_data_by_graph(tmp_path: Path) -> None:
    (data,) = overlay(tmp_path, NAMED[0][1]).values()
    assert data.keys() == {"results", "thresholds"}
    for result in data["results"].values():
        assert result.keys() == {"value"} and isinstance(result["value"], float)
    # The colour is that of the first threshold that a value does not exceed, in this order.
    values = [threshold["value"] for threshold in data["thresholds"]]
    assert values == sorted(values)
    for threshold in data["thresholds"]:
        assert threshold.keys() == {"value", "bgColor"}
        assert threshold["bgColor"].startswith("#") and len(threshold["bgColor"]) == 7
    assert max(result["value"] for result in data["results"].values()) <= values[-1]
