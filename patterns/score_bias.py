"""What is learned for each pair of a query and a key, and added to their score."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from onnx2mvit.ir.graph import Graph, Value
from onnx2mvit.ir.layout import plain
from onnx2mvit.matcher import Array, Expr, Match, Ops, Pattern, Var, constant, require

from .shift_mask import HIDDEN, shift_of

if TYPE_CHECKING:
    from keras import KerasTensor, layers, ops


class ScoreBias(Pattern):
    """Scores (B, heads, N, M) plus a learned number for each pair, which the exporter looked up.

    It is for the signed offset between the two places in a grid (Swin, arXiv:2103.14030,
    equation 4), for the absolute one (LeViT, arXiv:2104.01136, section 4.1), of which the queries
    may be every second place, or, where the numbers follow neither, for the pair itself.

    It is a parameter without a node, and Hugging Face's has the mask of shifted windows in it.
    Keras: Embedding, one row for each offset or pair.
    """

    keras = "score_bias"
    inner = True
    order = staticmethod(plain)
    rank: ClassVar[int] = 4

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Add(x, constant("bias"))

    def params(self, m: Match) -> dict[str, Any]:
        windows, *each = m.shape("x", self.rank)
        require(are_scores(m.graph, m.x), "it is not added to products of queries and keys")
        alike = m.bias.const.shape[1 - self.rank :] == tuple(each)
        require(alike, "it is not one for each head and pair")
        biases, bias = biases_of(m)
        hidden = (biases != bias).any(axis=1, keepdims=True)
        masked = np.where(hidden, bias + np.float32(HIDDEN), bias)
        require(np.array_equal(biases, masked), "it is not alike in all windows, but for a mask")
        require(not hidden.any() or len(biases) == windows, "it is not one for each window")
        mask = shift_of(hidden[:, 0]) if hidden.any() else {}
        return {**form_of(bias)[0], **mask}

    def weights(self, m: Match) -> dict[str, Array]:
        return {"embeddings": form_of(biases_of(m)[1])[1]}


def are_scores(graph: Graph, value: Value) -> bool:
    """True if these are products of queries and keys, scaled or not."""
    node = graph.producer(value)
    if node is not None and node.op == "Mul":
        makers = (graph.producer(each) for each in node.inputs if each is not None)
        node = next((maker for maker in makers if maker is not None), None)
    return node is not None and node.op == "MatMul"


def biases_of(m: Match) -> tuple[Array, Array]:
    """Those of all windows (n, heads, N, M), and what they are where nothing is hidden."""
    biases: Array = m.bias.const
    heads = m.x.shape[1] if len(m.x.shape) == 4 else 1
    biases = biases.reshape(-1, heads, *biases.shape[-2:])
    return biases, biases.max(axis=0)


def form_of(bias: Array) -> tuple[dict[str, Any], Array]:
    """How a bias (heads, N, M) is looked up, and the table, with a column for each head."""
    heads, queries, keys = bias.shape
    columns = bias.transpose(1, 2, 0)
    for form in forms(queries, keys):
        index = offset_index(**form)
        table = np.zeros((index.max() + 1, heads), np.float32)
        table[index] = columns
        if np.array_equal(table[index], columns):
            usual = {"stride": 1, "absolute": False}
            return {key: form[key] for key in form if form[key] != usual.get(key)}, table
    return {}, columns.reshape(-1, heads)


def forms(queries: int, keys: int) -> Iterator[dict[str, Any]]:
    """The ways to look up so many pairs by offsets, those with the squarest grids first."""
    grids = [(rows, keys // rows) for rows in range(1, keys + 1) if keys % rows == 0]
    for grid in sorted(grids, key=sum):
        for stride in range(1, max(grid) + 1):
            if -(-grid[0] // stride) * -(-grid[1] // stride) == queries:
                yield {"grid": grid, "stride": stride, "absolute": True}
                yield {"grid": grid, "stride": stride, "absolute": False}


def score_bias(
    x: KerasTensor,
    grid: tuple[int, int] | None = None,
    stride: int = 1,
    absolute: bool = False,
    *,
    name: str,
) -> KerasTensor:
    """Scores (B, heads, N, M) plus a learned number for each pair of a query and a key.

    Pairs with the same offset in a `grid` (rows, columns) of keys share it, if there is one; if
    `absolute`, so do those with the opposite offset.
    """
    _, heads, queries, keys = x.shape
    index = np.arange(queries * keys).reshape(queries, keys)
    if grid:
        index = offset_index(grid, stride, absolute)
        if index.shape != (queries, keys):
            raise ValueError(f"{name} is for {index.shape[1]} keys in a grid, not {keys}")
    pairs = ops.zeros_like(x[:1, 0], dtype="int32") + index.astype("int32")
    bias = layers.Embedding(int(index.max()) + 1, heads, name=name)(pairs)
    return x + ops.transpose(bias, (0, 3, 1, 2))


def offset_index(grid: tuple[int, int], stride: int = 1, absolute: bool = False) -> Any:
    """(N, M): a number for the offset from each key of a grid to each query in it."""
    places = np.indices(grid)
    queries, keys = places[:, ::stride, ::stride].reshape(2, -1, 1), places.reshape(2, 1, -1)
    down, right = queries - keys
    if absolute:
        return abs(down) * grid[1] + abs(right)
    return (down + grid[0] - 1) * (2 * grid[1] - 1) + right + grid[1] - 1
