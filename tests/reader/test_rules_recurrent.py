"""The rule for recurrent layers."""

from typing import Any

import pytest

from tests.reader.test_rules import only, ops, unified

# Read by tests.support.rules_table.
COVERS = {"DirectionsTogether"}


@pytest.mark.parametrize("layer", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("directions", [1, 2])
def test_directions_are_joined_and_other_outputs_stay(layer: str, directions: int) -> None:
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[layer]
    way = "bidirectional" if directions == 2 else "reverse"
    weights: dict[str, Any] = {"w": (directions, gates * 4, 3), "r": (directions, gates * 4, 4)}
    graph = unified(
        f"""(float[5,2,3] x) => (float y, float h) {{
            a, h = {layer}<hidden_size=4, direction="{way}">(x, w, r)
            b = Transpose<perm=[0,2,1,3]>(a)  c = Reshape(b, joined)  y = Neg(c)
        }}""",
        joined=[0, 0, -1],
        **weights,
    )
    assert ops(graph) == [layer, "Neg"]
    made = only(graph, layer)
    assert made.output.shape == (5, 2, 4 * directions)
    assert made.outputs[1] is graph.outputs[1] and graph.output_names == ["y", "h"]


def test_computed_weights_stay_as_they_are() -> None:
    graph = unified(
        """(float[5,2,3] x, float[1,4,3] w) => (float y) {
            a = RNN<hidden_size=4>(x, w, r)  y = Neg(a)
        }""",
        r=(1, 4, 4),
    )
    assert ops(graph) == ["RNN", "Neg"] and "joined" not in only(graph, "RNN").attrs
