"""Adaptive average pooling: means over as many windows as are wanted, whatever the image's size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.ir.block import Block
from onnx2mvit.ir.graph import Graph, Node, Value
from onnx2mvit.matcher import (
    Array,
    Builder,
    Expr,
    Match,
    Ops,
    Pattern,
    Rule,
    Var,
    any_of,
    constant,
    require,
)

from .upsampling import positions, weighted_pixels

if TYPE_CHECKING:
    from keras import KerasTensor, ops

SPACE_FIRST, SPACE_LAST = (2, 3, 0, 1), (4, 5, 0, 1, 2, 3)


class WindowsAreWeights(Rule):
    """Means of windows of pixels are sums of weighted rows and columns.

    ReduceMean(windows) → MatMul(rows, MatMul(x, columns)); Div(Add(…), counts) likewise, where
    each pixel of the windows is selected and added, and what is too much of them is zeroed before
    """

    needed_by = "AdaptiveAvgPool2d by dynamo, where windows of equal size do not fill the image"

    def onnx(self, op: Ops, x: Var) -> Expr:
        total = op.Add(Var("first"), Var("second"))
        return any_of(
            op.ReduceMean(Var("windows"), axes=(3, 5), keepdims=0),
            op.Div(total, constant("counts")),
        )

    def rewrite(self, m: Match, new: Builder) -> Value:
        counts = m.counts.const if m.counts is not None else None
        value = m.windows if counts is None else summed_windows(m.graph, m.first, m.second)
        image, indices, used = gathered(m.graph, value)
        weights, lengths = [], (image.shape or ())[2:]
        for index, part, length in zip(indices, used, lengths, strict=True):
            table = np.zeros((len(index), length))
            np.add.at(table, (np.arange(len(index))[:, None], index), part)
            weights.append(table)
        sizes = [table.sum(axis=1) for table in weights]
        require(all(size.all() for size in sizes), "a window is empty")
        right = counts is None or (np.outer(*sizes) == counts).all()
        require(right, "the sum is not divided by the pixels of the window")
        rows, columns = (
            (table / size[:, None]).astype(np.float32)
            for table, size in zip(weights, sizes, strict=True)
        )
        narrow = new.MatMul(image, new.constant(np.ascontiguousarray(columns.T), "columns"))
        return new.MatMul(new.constant(rows, "rows"), narrow)


def summed_windows(graph: Graph, *parts: Value) -> Value:
    """What these add up: every pixel of all windows, once."""
    rest, places, found = [*parts], list[tuple[int, int]](), set[Value]()
    while rest:
        node = graph.producer(rest.pop())
        if node is not None and node.op == "Add":
            rest += [value for value in node.inputs if value is not None]
            continue
        line = selected(graph, node, 4)
        windows = selected(graph, graph.producer(line), 3)
        row = graph.producer(line)
        assert node is not None and row is not None
        places.append((row.attrs["index"], node.attrs["index"]))
        found.add(windows)
        size = (windows.shape or ())[3::2]
        right = len(found) == 1 and len(places) <= np.prod(size, dtype=int)
        require(right, "other pixels are added")
    require(sorted(places) == [*np.ndindex(*size)], "not every pixel of the windows is added")
    return windows


def selected(graph: Graph, node: Node | None, axis: int) -> Value:
    """What a Select along this axis reads."""
    right = node is not None and node.op == "Select" and node.attrs["axis"] == axis
    require(right, f"an element of axis {axis} is not what is added")
    assert node is not None and node.inputs[0] is not None
    return node.inputs[0]


def gathered(graph: Graph, value: Value) -> tuple[Value, list[Array], list[Array]]:
    """The image that windows (B, C, rows, height, columns, width) are of.

    With it come, for rows and for columns, which of them each window has, and whether it counts:
    (windows, length) both.
    """
    shape = value.shape or ()
    require(len(shape) == 6, "they are no windows of an image")
    used = [np.ones(shape[2:4], bool), np.ones(shape[4:], bool)]
    node = graph.producer(value)
    while node is not None and node.op == "Where":
        mask, zero, inner = node.inputs
        assert mask is not None and zero is not None and inner is not None
        known = mask.const is not None and mask.const.ndim <= 4
        require(known and zero.const is not None, "what counts in a window is not known")
        assert mask.const is not None and zero.const is not None
        require(not zero.const.any(), "what does not count in a window is not zero")
        each = mask.const.reshape((1,) * (4 - mask.const.ndim) + mask.const.shape)
        require(1 in (each[0, 0].size, each[..., 0, 0].size), "rows and columns are mixed")
        used[0] = used[0] & ~each[:, :, 0, 0]
        used[1] = used[1] & ~each[0, 0]
        node = graph.producer(inner)
    chain = []
    for op in ("Transpose", "GatherND", "Transpose"):
        require(node is not None and node.op == op, f"{op} expected, found {node!r}")
        assert node is not None and node.inputs[0] is not None
        chain.append(node)
        image, node = node.inputs[0], graph.producer(node.inputs[0])
    back, gather, there = chain
    perms = (there.attrs.get("perm"), back.attrs.get("perm"))
    require(perms == (SPACE_FIRST, SPACE_LAST), "other axes than height and width are gathered")
    grid = gather.inputs[1].const if gather.inputs[1] is not None else None
    right = grid is not None and grid.shape == (*shape[2:], 2) and not gather.attrs["batch_dims"]
    require(right, "the pixels are not known")
    assert grid is not None
    rows, columns = grid[:, :, 0, 0, 0], grid[0, 0, :, :, 1]
    product = (grid[..., 0] == rows[..., None, None]) & (grid[..., 1] == columns)
    require(bool(product.all()), "the pixels are no windows")
    return image, [rows, columns], used


def windows_of(length: int, size: int) -> Array:
    """What each pixel of an axis has in `size` means along it: (size, length), 0 or a share.

    As in PyTorch the i-th window is from ⌊i · length / size⌋ to before ⌈(i + 1) · length / size⌉.
    """
    here, window = np.arange(length), np.arange(size)[:, None]
    inside = ((here + 1) * size > window * length) & (here * size < (window + 1) * length)
    share: Array = inside / inside.sum(axis=1, keepdims=True)
    return share


class AdaptiveAveragePooling2D(Pattern):
    """(B, C, H, W) → (B, C, s, s): means of windows that overlap where s does not divide H or W.

    PyTorch's AdaptiveAvgPool2d, as products with constants, which is how the reader writes it.
    """

    keras = "adaptive_average_pooling"
    before = ("Dense",)

    def onnx(self, op: Ops, x: Var) -> Expr:
        narrow = op.MatMul(x, constant("columns", rank=2))
        return op.MatMul(constant("rows", rank=2), narrow)

    def params(self, m: Match) -> dict[str, Any]:
        *_, height, width = m.shape("x", 4)
        rows, columns = m.rows.const, m.columns.const.T
        size = len(rows)
        require(len(columns) == size, f"it makes {size}×{len(columns)} pixels")
        for weights, length in ((rows, height), (columns, width)):
            near = np.allclose(weights, windows_of(length, size), rtol=0, atol=1e-6)
            require(near, f"it is not the mean of {size} windows of {length} pixels")
        return {"size": size}

    def windows(self, block: Block) -> tuple[int, ...]:
        return ()


def adaptive_average_pooling(x: KerasTensor, size: int) -> KerasTensor:
    """(B, H, W, C) → (B, size, size, C): means of windows, which may overlap.

    Keras's AdaptiveAveragePooling2D needs to know H and W, and fails in graphs of TensorFlow where
    a window is the whole image (3.15).
    """
    window, weights = np.arange(size, dtype="float32")[:, None], []
    for axis in (1, 2):
        here = positions(x, axis)
        length = ops.max(here) + 1
        begun = (here + 1) * size > length * window
        inside = ops.cast(begun & (here * size < length * (window + 1)), "float32")
        weights.append(inside / ops.sum(inside, axis=1, keepdims=True))
    return weighted_pixels(x, *weights)
