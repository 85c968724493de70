"""Random networks, converted and verified: `python -m tests.support.random_networks --count 500`.

A seed makes a network: two to six blocks in a row, of those that patterns know and of operators
that none does, with random widths, kernels, strides, groups and activations, batch normalization
kept or folded, a classifier or features at the end. Its weights are random, of the size at which
signals neither grow nor vanish. Every one is converted, and compared with onnxruntime.
"""

from __future__ import annotations

import argparse
import collections
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnx2mvit.errors import Onnx2mvitError

OPSET = 17


class Builder:
    """A graph in the making; `x` is the last tensor, with its channels, height and width."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.channels, self.size = (
            int(self.rng.choice([3, 4, 8])),
            int(self.rng.choice([8, 12, 16])),
        )
        self.x, self.shape = "image", (self.channels, self.size, self.size)
        self.folded = self.chance(0.3)

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def one_of(self, *choices: int) -> int:
        return int(self.rng.choice(choices))

    def weight(self, *shape: int, scale: float | None = None, mean: float = 0.0) -> str:
        fan = int(np.prod(shape[1:])) or 1
        deviation = fan**-0.5 if scale is None else scale
        return self.constant(self.rng.normal(mean, deviation, shape).astype(np.float32))

    def constant(self, array: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        names = [f"v{len(self.nodes)}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names[0]

    def activation(self, x: str) -> str:
        match self.rng.choice(["Relu", "silu", "HardSwish", "Clip", "LeakyRelu", "Elu", "none"]):
            case "silu":
                return self.op("Mul", x, self.op("Sigmoid", x))
            case "Clip":
                return self.op("Clip", x, self.scalar(0.0), self.scalar(6.0))
            case "none":
                return x
            case kind:
                return self.op(str(kind), x)

    def scalar(self, number: float) -> str:
        return self.constant(np.array(number, np.float32))

    def integers(self, *numbers: int) -> str:
        return self.constant(np.array(numbers, np.int64))

    def convolution(
        self, x: str, inputs: int, filters: int, kernel: int = 1, stride: int = 1, group: int = 1
    ) -> str:
        weight = self.weight(filters, inputs // group, kernel, kernel)
        bias = [self.weight(filters, scale=0.1)] if self.folded else []
        pads = [kernel // 2] * 4
        x = self.op("Conv", x, weight, *bias, pads=pads, strides=[stride] * 2, group=group)
        if self.folded:
            return x
        rest = [self.weight(filters, scale=0.1, mean=mean) for mean in (1.0, 0.0, 0.0)]
        variance = self.constant(self.rng.uniform(0.5, 1.5, filters).astype(np.float32))
        return self.op("BatchNormalization", x, *rest, variance)

    def model(self, outputs: tuple[int | None, ...]) -> onnx.ModelProto:
        image = [None if self.chance(0.5) else 2, self.channels, self.size, self.size]
        graph = helper.make_graph(
            self.nodes,
            "random",
            [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, image)],
            [helper.make_tensor_value_info(self.x, onnx.TensorProto.FLOAT, outputs)],
            self.weights,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        onnx.checker.check_model(made, full_check=True)
        return made


def conv_block(b: Builder) -> None:
    channels, height, width = b.shape
    filters, stride = b.one_of(8, 12, 16), b.one_of(1, 1, 2) if height > 2 else 1
    b.x = b.activation(b.convolution(b.x, channels, filters, b.one_of(1, 3, 5), stride))
    b.shape = (filters, -(-height // stride), -(-width // stride))


def grouped(b: Builder) -> None:
    channels = b.shape[0]
    filters = channels * b.one_of(1, 2)
    b.x = b.activation(b.convolution(b.x, channels, filters, 3, group=channels))
    b.shape = (filters, *b.shape[1:])


def inverted_residual(b: Builder) -> None:
    channels, (start, wide) = b.shape[0], (b.x, b.shape[0] * b.one_of(2, 3, 4))
    x = b.activation(b.convolution(b.x, channels, wide))
    x = b.activation(b.convolution(x, wide, wide, b.one_of(3, 5), group=wide))
    if b.chance(0.4):
        x = squeeze_excite(b, x, wide)
    x = b.convolution(x, wide, channels)
    b.x = b.op("Add", *((x, start) if b.chance(0.5) else (start, x)))


def squeeze_excite(b: Builder, x: str, channels: int) -> str:
    s = b.op("GlobalAveragePool", x) if b.chance(0.5) else b.op("ReduceMean", x, axes=[2, 3])
    s = b.op("Conv", s, b.weight(4, channels, 1, 1), b.weight(4, scale=0.1))
    s = b.op("Relu", s)
    s = b.op("Conv", s, b.weight(channels, 4, 1, 1), b.weight(channels, scale=0.1))
    return b.op("Mul", x, b.op(b.rng.choice(["Sigmoid", "HardSigmoid"]), s))


def residual(b: Builder) -> None:
    channels, start = b.shape[0], b.x
    x = b.op("Relu", b.convolution(b.x, channels, channels, 3))
    x = b.op("Add", b.convolution(x, channels, channels, 3), start)
    b.x = b.op("Relu", x)


def bottleneck(b: Builder) -> None:
    channels, height, width = b.shape
    stride, filters = b.one_of(1, 2) if height > 2 else 1, b.one_of(8, 16)
    x = b.op("Relu", b.convolution(b.x, channels, 4))
    x = b.op("Relu", b.convolution(x, 4, 4, 3, stride, b.one_of(1, 2, 4)))
    x = b.convolution(x, 4, filters)
    b.x = b.op("Relu", b.op("Add", x, b.convolution(b.x, channels, filters, 1, stride)))
    b.shape = (filters, -(-height // stride), -(-width // stride))


def pooling(b: Builder) -> None:
    channels, height, width = b.shape
    if height % 2 or width % 2:
        return
    kind = str(b.rng.choice(["MaxPool", "AveragePool"]))
    b.x = b.op(kind, b.x, kernel_shape=[2, 2], strides=[2, 2])
    b.shape = (channels, height // 2, width // 2)


def attention(b: Builder) -> None:
    """A transformer layer over the pixels, with one or two heads."""
    channels, height, width = b.shape
    heads = b.one_of(1, 2) if channels % 2 == 0 else 1
    tokens = height * width
    x = b.op("Reshape", b.x, b.integers(0, channels, tokens))
    start = b.op("Transpose", x, perm=[0, 2, 1])
    y = norm(b, start, channels)
    split = b.integers(0, tokens, heads, channels // heads)
    q, k, v = (b.op("Reshape", dense(b, y, channels, channels), split) for _ in range(3))
    q, v = (b.op("Transpose", part, perm=[0, 2, 1, 3]) for part in (q, v))
    scores = b.op("MatMul", q, b.op("Transpose", k, perm=[0, 2, 3, 1]))
    scores = b.op("Softmax", b.op("Mul", scores, b.scalar((channels // heads) ** -0.5)), axis=-1)
    y = b.op("Transpose", b.op("MatMul", scores, v), perm=[0, 2, 1, 3])
    y = b.op("Reshape", y, b.integers(0, tokens, channels))
    x = b.op("Add", dense(b, y, channels, channels), start)
    y = dense(b, norm(b, x, channels), channels, 2 * channels)
    y = dense(b, b.op("Mul", y, b.op("Sigmoid", y)), 2 * channels, channels)
    x = b.op("Transpose", b.op("Add", y, x), perm=[0, 2, 1])
    b.x = b.op("Reshape", x, b.integers(0, channels, height, width))


def norm(b: Builder, x: str, channels: int) -> str:
    gamma, beta = (b.weight(channels, scale=0.1, mean=mean) for mean in (1.0, 0.0))
    return b.op("LayerNormalization", x, gamma, beta, axis=-1, epsilon=1e-5)


def dense(b: Builder, x: str, inputs: int, units: int) -> str:
    weight = b.constant(b.rng.normal(0, inputs**-0.5, (inputs, units)).astype(np.float32))
    return b.op("Add", b.op("MatMul", x, weight), b.weight(units, scale=0.1))


def branches(b: Builder) -> None:
    channels = b.shape[0]
    parts = [b.activation(b.convolution(b.x, channels, 4, kernel)) for kernel in (1, 3)]
    b.x = b.op("Concat", *parts, axis=1)
    b.shape = (8, *b.shape[1:])


def single_operator(b: Builder) -> None:
    """What no pattern takes."""
    channels, height, width = b.shape
    match b.one_of(*range(8)):
        case 0:
            b.x = b.op("Sin", b.x)
        case 1:
            b.x = b.op("Mul", b.x, b.weight(channels, 1, 1, scale=0.3, mean=1.0))
        case 2:
            pads = b.integers(0, 0, 1, 0, 0, 0, 0, 2)
            b.x, b.shape = b.op("Pad", b.x, pads), (channels, height + 1, width + 2)
        case 3:
            b.x = b.op("InstanceNormalization", b.x, *[b.weight(channels, mean=1.0)] * 2)
        case 4:
            b.x = b.op(
                "Resize",
                b.x,
                "",
                b.constant(np.array([1, 1, 2, 2], np.float32)),
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
            b.shape = (channels, 2 * height, 2 * width)
        case 5:
            x = b.op("Transpose", b.x, perm=[0, 2, 3, 1])
            x = b.op("Softmax", x, axis=-1)
            b.x = b.op("Transpose", x, perm=[0, 3, 1, 2])
        case 6:
            b.x = b.op("Max", b.x, b.op("Neg", b.x))
        case _:
            ends = b.integers(height), b.integers(2)
            b.x = b.op("Slice", b.x, b.integers(1), *ends) if height > 2 else b.op("Tanh", b.x)
            b.shape = (channels, height - 1 if height > 2 else height, width)


BLOCKS: tuple[Callable[[Builder], None], ...] = (
    *(conv_block, conv_block, grouped, inverted_residual, inverted_residual, residual, bottleneck),
    *(pooling, attention, branches, single_operator, single_operator),
)


def network(seed: int) -> onnx.ModelProto:
    """The network of a seed."""
    b = Builder(seed)
    # As every network has it: a LayerNorm over three colours that are nearly alike, as in a grey
    # picture, divides by nearly nothing, and no two runtimes agree on that to 1e-5.
    conv_block(b)
    for _ in range(b.one_of(1, 2, 3, 4, 5)):
        BLOCKS[b.one_of(*range(len(BLOCKS)))](b)
    if b.chance(0.3):
        return b.model((None, *b.shape))
    channels, classes = b.shape[0], b.one_of(2, 10)
    x = b.op("GlobalAveragePool", b.x)
    x = b.op("Flatten", x)
    b.x = b.op("Gemm", x, b.weight(classes, channels), b.weight(classes, scale=0.1), transB=1)
    return b.model((None, classes))


def verdict(seed: int, folder: Path) -> str:
    """Converts the network of a seed: "passed", "failed", or why it is refused."""
    import onnx2mvit

    path = folder / f"net_{seed}.onnx"
    onnx.save(network(seed), path)
    try:
        result = onnx2mvit.convert(path, folder / "out")
    except Onnx2mvitError as error:
        return f"refused: {error}"
    return "passed" if result.passed else "failed"


def main() -> None:
    import keras

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    options = parser.parse_args()
    counts: collections.Counter[str] = collections.Counter()
    start = time.monotonic()
    for seed in range(options.first, options.first + options.count):
        with tempfile.TemporaryDirectory() as folder:
            found = verdict(seed, Path(folder))
        counts[found.partition(":")[0]] += 1
        if found != "passed":
            print(f"seed {seed}: {found}", flush=True)
        keras.backend.clear_session()
        done = seed + 1 - options.first
        if done % 50 == 0:
            print(
                f"{done} networks in {time.monotonic() - start:.0f} s: {dict(counts)}", flush=True
            )
    print(f"{options.count} networks in {time.monotonic() - start:.0f} s: {dict(counts)}")
    sys.exit(counts["failed"] > 0)


if __name__ == "__main__":
    main()
