"""What a file computes with the number of its images, it computes for that number alone."""

from pathlib import Path
from typing import Any

import pytest

import onnx2mvit
from onnx2mvit.errors import UnsupportedError
from tests.support.graphs import model, save

HEAD = "g (float[N,3,8,8] x) => (float[N,3,a,b] y) {"
NUMBER = {
    "all elements": "s = Size(x)  f = Cast<to=1>(s)",
    "the batch": "s = Shape<start=0,end=1>(x)  f = Cast<to=1>(s)",
    "its root": "s = Shape(x)  n = Gather(s, zero)  c = Cast<to=1>(n)  f = Sqrt(c)",
}


@pytest.mark.parametrize("number", NUMBER)
def test_it_is_refused_where_the_batch_is_open(tmp_path: Path, number: str) -> None:
    text = f"{HEAD} {NUMBER[number]}  y = Div(x, f) }}"
    weights: dict[str, Any] = {"zero": [0]} if "zero" in text else {}
    with pytest.raises(UnsupportedError, match="is computed with the number of images"):
        onnx2mvit.inspect(save(model(text, **weights), tmp_path))
    one = save(model(text.replace("N", "1"), **weights), tmp_path)
    assert not onnx2mvit.inspect(one).refused


@pytest.mark.parametrize(
    "nodes",
    [
        "s = Shape<start=2,end=4>(x)  p = ReduceProd(s)  f = Cast<to=1>(p)  y = Div(x, f)",
        """s = Shape<start=0,end=2>(x)  h = Shape<start=2,end=4>(x)  f = Cast<to=1>(h)
        g = Mul(f, two)  i = Cast<to=7>(g)  t = Concat<axis=0>(s, i)
        y = Resize<mode="nearest">(x, , , t)""",
    ],
)
def test_other_lengths_are_no_matter_nor_is_a_shape_that_is_made_of_one(
    tmp_path: Path, nodes: str
) -> None:
    weights: dict[str, Any] = {"two": 2.0} if "two" in nodes else {}
    assert not onnx2mvit.inspect(save(model(f"{HEAD} {nodes} }}", **weights), tmp_path)).refused
