"""What a small file may not grow to, and what constant expressions may take."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx2mvit.base.memory import peak
from onnx2mvit.errors import UnsupportedError
from onnx2mvit.reader import read
from onnx2mvit.reader.limits import MOST_NODES, refuse_many
from tests.support.graphs import graph, model, save

GOOD = "g (float[1,3,8,8] x) => (float[a,b,c,d] y)"
SCALARS: dict[str, Any] = {
    "one": np.ones(1, np.float32),
    "zero": np.int64(0),
    "step": np.int64(1),
    "limit": np.int64(1 << 40),
}


def chain(node: str, count: int = 300) -> str:
    """A node on what the one before it gives, the first one on `m`."""
    lines = (node.format(before=f"m{i}" if i else "m", after=f"m{i + 1}") for i in range(count))
    return "  ".join([*lines, f"c = ReduceSum<keepdims=0>(m{count})"])


def refused(folder: Path, nodes: str, **weights: Any) -> str:
    """Reading ends in this error, soon and in little memory."""
    path = save(model(f"{GOOD} {{ {nodes}  y = Add(x, c) }}", **SCALARS, **weights), folder)
    memory, seconds = peak() or 0, time.process_time()
    with pytest.raises(UnsupportedError) as caught:
        read(path)
    assert (peak() or 0) - memory < 300 << 20
    assert time.process_time() - seconds < 10
    return str(caught.value)


@pytest.mark.parametrize(
    "nodes",
    [
        "c = ConstantOfShape(big)",
        "c = Expand(one, big)",
        "c = Tile(one, big)",
        "i = Range(zero, limit, step)  c = Cast<to=1>(i)",
        "a = Mul(column, line)  c = Mul(a, deep)",
        "i = OneHot(indices, depth, ends)  c = Cast<to=1>(i)",
        "c = Pad(one, around)",
    ],
    ids=["ConstantOfShape", "Expand", "Tile", "Range", "a product of three", "OneHot", "Pad"],
)
def test_a_constant_does_not_grow(tmp_path: Path, nodes: str) -> None:
    message = refused(
        tmp_path,
        nodes,
        big=[1 << 40],
        column=(1 << 10, 1, 1),
        line=(1 << 12, 1),
        deep=(1 << 18,),
        indices=np.arange(1 << 14),
        depth=np.int64(1 << 14),
        ends=[0, 1],
        around=[1 << 40, 0],
    )
    assert "too large to be computed" in message


@pytest.mark.parametrize(
    "nodes",
    [
        chain("{after} = MatMul({before}, m)"),
        chain('{after} = Einsum<equation="ab,bc->ac">({before}, m)'),
        'c = Einsum<equation="ab,bc,cd,de->ae">(m, m, m, m)',
        "c = Conv<pads=[2,2,2,2]>(wide, kernel)",
        chain("{after} = Neg({before})").replace("(m)", "(image)"),
        "t = Cast<to=9>(deep)  n = NonZero(t)  c = ReduceSum<keepdims=0>(n)",
    ],
    ids=["MatMul", "Einsum", "one Einsum", "Conv", "bytes", "rank 40"],
)
def test_constants_are_computed_within_bounds_in_all(tmp_path: Path, nodes: str) -> None:
    message = refused(
        tmp_path,
        nodes,
        m=np.full((1300, 1300), 1e-3),
        image=(1, 32, 256, 256),
        wide=np.ones((1, 32, 256, 256)),
        kernel=np.ones((256, 32, 5, 5)),
        deep=np.ones((1,) * 38 + (1500, 1500), np.float32),
    )
    assert message.startswith("the constants of the file are too large to be computed, at node")


@pytest.mark.parametrize(
    "nodes",
    ["c = Conv<pads=[1,1,1,1]>(m, w)", 'c = Einsum<equation="nchw,ochw->nohw">(m, k)'],
)
def test_convolutions_and_sums_of_constants_are_folded(tmp_path: Path, nodes: str) -> None:
    body = f"{GOOD} {{ {nodes}  y = Add(x, c) }}"
    made = graph(tmp_path, body, m=(1, 32, 8, 8), w=(3, 32, 3, 3), k=(3, 32, 8, 8))
    assert [node.op for node in made] == ["Add"]


@pytest.mark.parametrize(
    ("node", "says"),
    [
        ("y = Tile(x, many)", "tensor 'y'"),
        ("y = Pad(x, around)", "tensor 'y'"),
        ('y = Resize<mode="nearest">(x, , factors)', "tensor 'y'"),
        ("y = Conv<pads=[9999,9999,9999,9999], dilations=[9999,9999]>(x, w)", "tensor 'x'"),
        ("y = AveragePool<kernel_shape=[9999,9999], pads=[4999,4999,4999,4999]>(x)", "tensor 'x'"),
        ("y = LRN<size=1000001>(x)", "tensor 'x'"),
        (
            "y = MaxPool<kernel_shape=[1500,1500], pads=[1400,1400,1400,1400]>(x)",
            "goes through windows",
        ),
    ],
)
def test_what_is_computed_for_images_does_not_grow(tmp_path: Path, node: str, says: str) -> None:
    weights: dict[str, Any] = {
        "many": [1, 1, 2000, 2000],
        "around": [0, 0, 5000, 5000, 0, 0, 5000, 5000],
        "factors": np.array([1, 1, 2000, 2000], np.float32),
        "w": (3, 3, 3, 3),
    }
    path = save(model(f"{GOOD} {{ {node} }}", **weights), tmp_path)
    with pytest.raises(UnsupportedError, match=says):
        read(path)


def test_a_window_counts_as_far_as_the_image_goes(tmp_path: Path) -> None:
    """The last pooling of transformers' EfficientNet is of 1280×1280, on 7×7."""
    body = """g (float[N,1280,7,7] x) => (float[N,1280,1,1] y) {
        y = AveragePool<ceil_mode=1, kernel_shape=[1280,1280], strides=[1280,1280]>(x) }"""
    assert len(graph(tmp_path, body)) == 1


def test_rows_that_are_looked_up_count_once(tmp_path: Path) -> None:
    """CoAtNet looks up what all heads add to a score: a place, and a row of numbers."""
    table, places = np.ones((4, 4096), np.float32), np.zeros((1024, 1), np.int64)
    body = f"{GOOD} {{ a = GatherND(table, places)  m = ReduceSum<keepdims=0>(a)  y = Add(x, m) }}"
    assert [node.op for node in graph(tmp_path, body, table=table, places=places)] == ["Add"]


def test_many_places_are_looked_up_at_once(tmp_path: Path) -> None:
    """LeViT-384-s8 looks up 600,000 in each block, one at a time in onnx's implementation."""
    table = np.arange(6, dtype=np.float32).reshape(2, 3)
    places = np.tile([[0, 2], [-1, 0]], (1 << 21, 1))
    body = f"{GOOD} {{ a = GatherND(table, places)  m = ReduceMax<keepdims=0>(a)  y = Add(x, m) }}"
    (node,) = graph(tmp_path, body, table=table, places=places)
    assert [v.const for v in node.inputs if v is not None and v.const is not None] == [3]


def test_many_places_are_written_at_once(tmp_path: Path) -> None:
    """ConViT writes offsets of 38,416 pairs of pixels in ten layers, some by ScatterElements."""
    rows = np.arange(1 << 20)[:, None]
    body = f"""{GOOD} {{ a = ScatterND(table, rows, ones)
        b = ScatterElements<axis=1>(a, zeros, twos)  m = ReduceMean<keepdims=0>(b)
        y = Add(x, m) }}"""
    shape = rows.shape[0], 2
    (node,) = graph(
        tmp_path, body, table=np.zeros(shape, np.float32), rows=rows,
        ones=np.ones(shape, np.float32), zeros=np.zeros((len(rows), 1), np.int64),
        twos=np.full((len(rows), 1), 2, np.float32),
    )  # fmt: skip
    assert [v.const for v in node.inputs if v is not None and v.const is not None] == [1.5]


def test_what_is_not_there_is_not_looked_up(tmp_path: Path) -> None:
    body = f"{GOOD} {{ a = GatherND(table, places)  m = ReduceMax<keepdims=0>(a)  y = Add(x, m) }}"
    nodes = graph(tmp_path, body, table=np.ones((2, 3), np.float32), places=np.array([[0, 3]]))
    assert "GatherND" in [node.op for node in nodes]


def test_what_is_kept_at_a_time_is_bounded(tmp_path: Path) -> None:
    made = "  ".join(f"t{i} = Tile(x, many)" for i in range(6))
    read_later = "  ".join(f"s{i} = Add(s{i - 1}, t{5 - i})" for i in range(1, 6))
    body = f"{GOOD} {{ {made}  s0 = Neg(t5)  {read_later}  y = ReduceMax<axes=[2,3]>(s5) }}"
    path = save(model(body, opset=17, many=[1, 1, 400, 400]), tmp_path)
    with pytest.raises(UnsupportedError, match=r"at node 't4' \(Tile\) 153,600,000 numbers"):
        read(path)


def test_a_file_of_too_many_nodes() -> None:
    refuse_many(MOST_NODES, "net.onnx")
    with pytest.raises(UnsupportedError, match=r"net\.onnx has more than 100,000 nodes"):
        refuse_many(MOST_NODES + 1, "net.onnx")
