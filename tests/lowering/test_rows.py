"""Rows of an axis that are the batch, and rows that are only as many."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx2mvit import convert, inspect
from onnx2mvit.emitter.emit import emit
from onnx2mvit.errors import UnsupportedError
from tests.support.graphs import model, save

# Of an image four rows are made, and multiplied by one row.
ROWS = """g (float[{batch},4,6] x) => (float y) {{
    m = ReduceMax<axes=[1], keepdims=0>(x)  r = Reshape(x, rows)  y = {op}
}}"""


@pytest.mark.parametrize("op", ["Mul(r, m)", "Max(m, r)"])
def test_rows_that_are_broadcast_over_those_of_an_image_fix_the_batch(
    tmp_path: Path, op: str
) -> None:
    network = inspect(save(model(ROWS.format(batch=1, op=op), opset=17, rows=[-1, 6]), tmp_path))
    assert network.batch == 1
    assert not network.refused


def test_as_many_rows_in_both_are_of_the_same_images(tmp_path: Path) -> None:
    nodes = "r = Reshape(x, rows)  s = Tanh(r)  y = Mul(r, s)"
    body = f"g (float[1,4,6] x) => (float y) {{ {nodes} }}"
    network = inspect(save(model(body, opset=17, rows=[4, 6]), tmp_path))
    assert network.batch is None
    assert network.layouts[network.graph.outputs[0]].batch == 0


def test_in_a_file_of_any_batch_it_is_refused(tmp_path: Path) -> None:
    made = model(ROWS.format(batch="N", op="Concat<axis=0>(r, m)"), opset=17, rows=[-1, 6])
    with pytest.raises(UnsupportedError, match="mixes the images"):
        emit(inspect(save(made, tmp_path)), "net", "test")


@pytest.mark.parametrize(
    ("batch", "answer", "nodes", "shape"),
    [
        ("N", "N,5", "s = Squeeze(p)  m = MatMul(s, k)  y = Add(m, b)", (None, 5)),
        ("N", "N", "s = Flatten(p)  m = MatMul(s, u)  y = Squeeze(m)", (None,)),
        ("1", "5", "s = Squeeze(p)  m = MatMul(s, k)  y = Add(m, b)", (5,)),
    ],
    ids=["before a linear layer", "of one number for each image", "in a file for one image"],
)
def test_a_squeeze_of_every_axis_of_length_one_keeps_the_batch_that_is_more(
    tmp_path: Path, batch: str, answer: str, nodes: str, shape: tuple[int | None, ...]
) -> None:
    """As torch's `x.squeeze()`: with one image the file has no batch any more, or fails."""
    body = f"g (float[{batch},4,6,6] x) => (float[{answer}] y) {{ p = GlobalMaxPool(x)  {nodes} }}"
    file = save(model(body, opset=17, k=(4, 5), b=(5,), u=(4, 1)), tmp_path)
    made = convert(file, tmp_path, inputs=2)
    assert made.passed
    assert made.model.output_shape == shape


@pytest.mark.parametrize(
    ("nodes", "at_a_time"),
    [
        ("s = Squeeze(p)", 3),
        ("q = Flatten(p)  l = Shape<start=0, end=1>(q)  b = Squeeze(l)  s = Expand(q, b)", None),
        ("s = Squeeze(p, axes)", None),
    ],
    ids=["of data", "of a length", "of axes that it says"],
)
def test_a_file_is_run_on_one_image_unless_that_drops_its_batch(
    tmp_path: Path, nodes: str, at_a_time: int | None
) -> None:
    """As torch's dynamo exporter makes a number of a length, which is no matter."""
    body = f"g (float[N,4,6,6] x) => (float[N,4] s) {{ p = GlobalMaxPool(x)  {nodes} }}"
    network = inspect(save(model(body, opset=17, axes=[2, 3]), tmp_path))
    assert network.file_batch == at_a_time


@pytest.mark.parametrize("node", ["Add(r, masks)", "Mul(masks, r)", "Where(keeps, r, masks)"])
def test_a_constant_for_the_rows_of_an_image_is_there_once_for_each_image(
    tmp_path: Path, node: str
) -> None:
    """As the masks of shifted windows, which exporters repeat for the images of the trace."""
    body = f"g (float[2,4,6] x) => (float[8,6] y) {{ r = Reshape(x, rows)  y = {node} }}"
    masks = np.arange(24.0, dtype=np.float32).reshape(4, 6)
    numbers: dict[str, Any] = {
        "rows": [-1, 6],
        "masks": [*masks, *masks],
        "keeps": np.tile(masks % 3 > 1, (2, 1)),
    }
    made = convert(save(model(body, opset=17, **numbers), tmp_path), tmp_path, inputs=2)
    assert made.passed
    images = np.ones((3, 4, 6), np.float32)
    assert np.asarray(made.model(images)).shape == (12, 6)


@pytest.mark.parametrize(
    ("batch", "rows", "other"),
    [(2, 8, np.arange(48.0)), (1, 1, np.arange(144.0))],
    ids=["for another image", "for one row"],
)
def test_a_constant_that_is_another_for_another_image_is_refused(
    tmp_path: Path, batch: int, rows: int, other: np.ndarray[Any, Any]
) -> None:
    shape = {1: 24, 8: 6}[rows]
    body = f"g (float[{batch},4,6] x) => (float y) {{ r = Reshape(x, s)  y = Add(r, other) }}"
    made = model(body, opset=17, s=[rows, shape], other=other.reshape(-1, shape))
    with pytest.raises(UnsupportedError, match="a constant differs from image to image"):
        emit(inspect(save(made, tmp_path)), "net", "test")
