"""CPU seconds to read and rewrite graphs made to be slow, as they double: `make bench`.

The last column is how much longer it took than for half the graph; linear is 2. A growth of more
than 3 in the last doubling is an error (exit 1).
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import onnx
from onnx import helper

from onnx2mvit.lifter import lift
from onnx2mvit.lowering import lower
from onnx2mvit.reader import read
from tests.performance.matching import BATCH, CHANNELS, SIZE, Writer, conv, mobilevit_block

SMALLEST_S, MOST = 0.5, 3.0  # below so many seconds, noise decides


def chain(w: Writer, x: str, size: int) -> str:
    """A deep chain of operators without weights."""
    for number in range(size):
        x = w.op(("Relu", "Sigmoid", "Tanh", "Neg")[number % 4], x)
    return x


def fan(w: Writer, x: str, size: int) -> str:
    """One value that very many read, and one that reads very many."""
    return w.op("Sum", *(w.op("Relu", x) for _ in range(size)))


def residuals(w: Writer, x: str, size: int) -> str:
    """Every Add reads the chain and its beginning."""
    first = x
    for _ in range(size // 2):
        x = w.op("Add", first, w.op("Sigmoid", x))
    return x


def near_misses(w: Writer, x: str, size: int) -> str:
    """MobileViT blocks whose last convolution reads its own input instead of the concatenation."""
    for _ in range(max(1, size // 80)):
        start = len(w.nodes)
        y = mobilevit_block(w, x)
        joined = next(node for node in w.nodes[start:] if node.op_type == "Concat")
        joined.input[0] = joined.input[1]
        x = w.op("Add", x, y)
    return x


def commutative(w: Writer, x: str, size: int) -> str:
    """Trees of Add and Mul over the same few values, in every order."""
    level = [x, w.op("Relu", x), w.op("Sigmoid", x)]
    for number in range(size):
        level.append(w.op(("Add", "Mul")[number % 2], level[-1], level[-2 - number % 2]))
        level = level[-3:]
    return level[-1]


def doubling(w: Writer, x: str, size: int) -> str:
    """x + x, again and again: as many ways from the end to the beginning as 2 to the size."""
    for number in range(size):
        x = w.op(("Add", "Mul")[number % 2], x, x)
    return x


def almost_norms(w: Writer, x: str, size: int) -> str:
    """The parts of a LayerNormalization over and over, with one that does not fit."""
    for _ in range(size // 6):
        centred = w.op("Sub", x, w.op("ReduceMean", x, axes=[-1], keepdims=1))
        square = w.op("Mul", centred, centred)
        spread = w.op("Sqrt", w.op("ReduceMean", square, axes=[-2], keepdims=1))
        x = w.op("Div", centred, spread)
    return x


def transposes(w: Writer, x: str, size: int) -> str:
    """A chain of Transpose that the rules merge."""
    for number in range(size):
        x = w.op("Transpose", x, perm=([0, 2, 3, 1], [0, 1, 3, 2])[number % 2])
    return x


def convolutions(w: Writer, x: str, size: int) -> str:
    """Blocks that all read the same image."""
    outputs = [conv(w, x, CHANNELS) for _ in range(size // 4)]
    return w.op("Sum", *outputs)


def clashing_names(w: Writer, x: str, size: int) -> str:
    """Blocks of different modules whose names are one once they are made safe."""
    for number in range(size // 4):
        start = len(w.nodes)
        x = conv(w, x, CHANNELS)
        for node in w.nodes[start:]:
            node.name = f"/{chr(0x4E00 + number % 20_000)}{number // 20_000 * 'x'}/{node.op_type}"
    return x


def deep_names(w: Writer, x: str, size: int) -> str:
    """One block in a module of very many levels."""
    x = conv(w, x, CHANNELS)
    for node in w.nodes:
        node.name = "/" + "/".join(f"m{level}" for level in range(size)) + f"/{node.op_type}"
    return x


GRAPHS: tuple[Callable[[Writer, str, int], str], ...] = (
    *(chain, fan, residuals, near_misses, commutative, doubling, almost_norms, transposes),
    *(convolutions, clashing_names, deep_names),
)


def model(make: Callable[[Writer, str, int], str], size: int) -> onnx.ModelProto:
    """A graph of about so many operators."""
    w = Writer()
    y = make(w, "image", size)
    shape = [BATCH, CHANNELS, SIZE, SIZE]
    image = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, shape)
    output = helper.make_tensor_value_info(y, onnx.TensorProto.FLOAT, [None] * 4)
    graph = helper.make_graph(w.nodes, "graph", [image], [output], list(w.constants.values()))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def functions(levels: int) -> onnx.ModelProto:
    """Local functions of one call each, one inside the other."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    made = model(chain, 1)
    made.opset_import.append(opsets[1])
    for level in range(levels):
        inner = ("Relu", "") if level == 0 else (f"f{level - 1}", "own")
        node = helper.make_node(inner[0], ["x"], ["y"], domain=inner[1])
        made.functions.append(
            helper.make_function("own", f"f{level}", ["x"], ["y"], [node], opsets)
        )
    made.graph.node[0].op_type, made.graph.node[0].domain = f"f{levels - 1}", "own"
    return made


def seconds(made: onnx.ModelProto) -> tuple[float, float]:
    """To read it, and to rewrite it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        onnx.save(made, path)
        gc.collect()
        start = time.process_time()
        graph = read(path)
        middle = time.process_time()
        lower(lift(graph))
    return middle - start, time.process_time() - middle


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, default=16_000, help="the largest graph")
    parser.add_argument("--only", help="the name of one kind of graph")
    options = parser.parse_args()
    slow = []
    print("graph           nodes   read s  rewrite s  against half the graph")
    for make in GRAPHS:
        if options.only not in (None, make.__name__):
            continue
        before, growth = 0.0, 0.0
        for size in (options.nodes >> shift for shift in range(3, -1, -1)):
            made = model(make, size)
            reading, rewriting = seconds(made)
            growth = (reading + rewriting) / before if before else 0.0
            before = reading + rewriting
            shown = f"{growth:6.2f}" if growth else ""
            name, nodes = make.__name__, len(made.graph.node)
            print(f"{name:13}  {nodes:6}  {reading:7.2f}  {rewriting:9.2f}  {shown}", flush=True)
        if growth > MOST and before > SMALLEST_S:
            slow.append(make.__name__)
    if slow:
        sys.exit(f"more than linear: {', '.join(slow)}")


if __name__ == "__main__":
    main()
