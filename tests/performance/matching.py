"""CPU seconds to read and to rewrite as a graph doubles, to about 100,000 nodes: `make bench`.

The graph repeats an inverted residual and a MobileViT block of two transformer layers. A linear
rewrite doubles its time with the graph: the last column stays near 2.
"""

import argparse
import gc
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from benchmarks.history import Figure, keep
from onnx2mvit.benchmarks.machine import Others
from onnx2mvit.lifter import lift
from onnx2mvit.lowering import lower
from onnx2mvit.reader import read

CHANNELS, SIZE, PATCH, HEADS = 8, 4, 2, 2
PATCHES = (SIZE // PATCH) ** 2
BATCH = 3


class Writer:
    """Appends operators to a graph, each with its own output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def weight(self, *shape: int) -> str:
        name = "w" + "x".join(map(str, shape))
        array = np.full(shape, 0.01, np.float32)
        return self._constant(name, array)

    def shape(self, *dims: int) -> str:
        return self._constant("s" + "x".join(map(str, dims)), np.array(dims, np.int64))

    def _constant(self, name: str, array: np.ndarray) -> str:
        self.constants.setdefault(name, numpy_helper.from_array(array, name))
        return name


def silu(w: Writer, x: str) -> str:
    return w.op("Mul", x, w.op("Sigmoid", x))


def conv(w: Writer, x: str, inputs: int, k: int = 1, group: int = 1, act: bool = True) -> str:
    kernel = w.weight(CHANNELS, inputs // group, k, k)
    y = w.op("Conv", x, kernel, pads=[k // 2] * 4, group=group)
    y = w.op("BatchNormalization", y, *[w.weight(CHANNELS)] * 4)
    return silu(w, y) if act else y


def dense(w: Writer, x: str) -> str:
    return w.op("Add", w.op("MatMul", x, w.weight(CHANNELS, CHANNELS)), w.weight(CHANNELS))


def inverted_residual(w: Writer, x: str) -> str:
    y = conv(w, x, CHANNELS)
    y = conv(w, y, CHANNELS, 3, group=CHANNELS)
    return w.op("Add", x, conv(w, y, CHANNELS, act=False))


def transformer_layer(w: Writer, x: str) -> str:
    heads = w.shape(BATCH * PATCH**2, PATCHES, HEADS, CHANNELS // HEADS)
    norm = [w.weight(CHANNELS)] * 2
    y = w.op("LayerNormalization", x, *norm)
    q, k, v = (w.op("Reshape", dense(w, y), heads) for _ in range(3))
    q, v = (w.op("Transpose", part, perm=[0, 2, 1, 3]) for part in (q, v))
    scores = w.op("MatMul", q, w.op("Transpose", k, perm=[0, 2, 3, 1]))
    w.constants["root"] = numpy_helper.from_array(
        np.array((CHANNELS // HEADS) ** 0.5, np.float32), "root"
    )
    scores = w.op("Softmax", w.op("Div", scores, "root"), axis=-1)
    y = w.op("Transpose", w.op("MatMul", scores, v), perm=[0, 2, 1, 3])
    y = w.op("Reshape", y, w.shape(BATCH * PATCH**2, PATCHES, CHANNELS))
    x = w.op("Add", dense(w, y), x)
    y = dense(w, silu(w, dense(w, w.op("LayerNormalization", x, *norm))))
    return w.op("Add", y, x)


def mobilevit_block(w: Writer, x: str) -> str:
    rows = SIZE // PATCH
    strips = BATCH * CHANNELS * rows
    y = conv(w, x, CHANNELS, 3)
    y = w.op("Conv", y, w.weight(CHANNELS, CHANNELS, 1, 1))
    y = w.op("Reshape", y, w.shape(strips, PATCH, rows, PATCH))
    y = w.op("Transpose", y, perm=[0, 2, 1, 3])
    y = w.op("Reshape", y, w.shape(BATCH, CHANNELS, PATCHES, PATCH**2))
    y = w.op("Transpose", y, perm=[0, 3, 2, 1])
    y = w.op("Reshape", y, w.shape(BATCH * PATCH**2, PATCHES, CHANNELS))
    for _ in range(2):
        y = transformer_layer(w, y)
    y = w.op("LayerNormalization", y, *[w.weight(CHANNELS)] * 2)
    y = w.op("Reshape", y, w.shape(BATCH, PATCH**2, PATCHES, CHANNELS))
    y = w.op("Transpose", y, perm=[0, 3, 2, 1])
    y = w.op("Reshape", y, w.shape(strips, rows, PATCH, PATCH))
    y = w.op("Transpose", y, perm=[0, 2, 1, 3])
    y = w.op("Reshape", y, w.shape(BATCH, CHANNELS, SIZE, SIZE))
    y = w.op("Concat", x, conv(w, y, CHANNELS), axis=1)
    return conv(w, y, 2 * CHANNELS, 3)


def network(repeats: int) -> onnx.ModelProto:
    """A chain of so many pairs of the two blocks."""
    w = Writer()
    x = "image"
    for _ in range(repeats):
        x = mobilevit_block(w, inverted_residual(w, x))
    shape = [BATCH, CHANNELS, SIZE, SIZE]
    graph = helper.make_graph(
        w.nodes,
        "chain",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(x, onnx.TensorProto.FLOAT, shape)],
        list(w.constants.values()),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=100_000, help="the largest graph")
    parser.add_argument("--keep", action="store_true", help="in docs/benchmarks/matching.json")
    given = parser.parse_args()
    with Others() as others:
        figures = measure(given.nodes)
    if given.keep:
        print(keep("matching", "MobileViT's blocks repeated", figures, others.share))


def measure(largest: int) -> list[Figure]:
    """Prints a line for each doubling up to so many nodes."""
    figures = []
    per_repeat = len(network(1).graph.node)
    repeats = [max(1, largest // per_repeat >> shift) for shift in range(6, -1, -1)]
    print("  nodes  blocks   read s  rewrite s  rewrite against half the graph")
    before = None
    for count in repeats:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "chain.onnx"
            onnx.save(network(count), path)
            gc.collect()
            start = time.process_time()
            graph = read(path)
            middle = time.process_time()
            nodes = len(graph)
            found = lower(lift(graph))
            end = time.process_time()
        assert not found.refused
        seconds = end - middle
        growth = f"{seconds / before:.2f}" if before else ""
        print(f"{nodes:7}  {len(found.blocks):6}  {middle - start:7.2f}  {seconds:9.2f}  {growth}")
        before = seconds
        figures.append(Figure(f"read, {nodes:,} nodes", middle - start, "s"))
        figures.append(Figure(f"lift and lower, {nodes:,} nodes", seconds, "s"))
    return figures


if __name__ == "__main__":
    main()
