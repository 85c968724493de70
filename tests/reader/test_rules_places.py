"""A place of its own for each image, in one spelling."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.texts import Text

COVERS = {"PlaceOfEachImage"}

TOKENS = "float[2,3,8]"
PLACES = "m = ReduceMax<keepdims=0>(x, last)  a = ArgMax<axis=-1, keepdims=0>(m)"
COUNTED = Text(
    f"{PLACES}  c = Reshape(a, column)  i = Concat<axis=-1>(images, c)  y = GatherND(x, i)",
    {"last": [2], "column": [2, 1], "images": [[0], [1]]},
)
FLAT = Text(
    f"{PLACES}  f = Reshape(x, flat)  i = Add(a, starts)  y = Gather(f, i)",
    {"last": [2], "flat": [6, 8], "starts": [0, 3]},
)


@pytest.mark.parametrize("text", [COUNTED, FLAT])
def test_images_are_no_longer_counted_by_a_constant(tmp_path: Path, text: Text) -> None:
    graph = text.read(tmp_path, image=TOKENS)
    node = graph.producer(graph.outputs[0])
    assert graph.applied["PlaceOfEachImage"] == 1
    assert node is not None and node.op == "GatherND" and node.attrs["batch_dims"] == 1
    assert node.inputs[0] in graph.inputs
    assert not any(value is not None and value.const is not None for value in node.inputs)


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        (COUNTED, {"images": [[1], [0]]}),
        (FLAT, {"starts": [0, 2]}),
        (FLAT, {"starts": [3, 0]}),
        (FLAT, {"flat": [3, 16], "starts": [0, 1]}),
    ],
    ids=["images change places", "not from the beginning", "images change rows", "no places"],
)
def test_what_counts_otherwise_stays(tmp_path: Path, text: Text, changed: dict[str, Any]) -> None:
    graph = text.having(**changed).read(tmp_path, image=TOKENS)
    node = graph.producer(graph.outputs[0])
    assert node is not None and node.op in ("GatherND", "Gather")
    assert not node.attrs.get("batch_dims")
