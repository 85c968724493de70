"""A random graph in the making, as an exporter writes it for one size of images or for every."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Array = np.ndarray[Any, Any]
OPSET = 17
SIZES = ((32, 40), (48, 36), (33, 45), (40, 56), (64, 44))
EVEN_SIZES = ((32, 48), (64, 32), (48, 64), (40, 56), (80, 48))


Numbers = tuple[int, int]  # at the size that the file is written at, and at another


@dataclass(frozen=True)
class Form:
    """How a file says it.

    Attributes:
        one_size: whether it is for images of one size, whose lengths it has as numbers.
        batch: the batch that it is for, None for any.
    """

    one_size: bool
    batch: int | None


@dataclass(frozen=True)
class Length:
    """A number that is computed from the size of the images.

    Attributes:
        at: what it is at the size that the file is written at, and at another.
        name: the tensor that holds it; "" where the file has the number instead.
    """

    at: Numbers
    name: str


class Builder:
    """A graph in the making; `x` is the last tensor, an image of `channels`, `high` and `wide`.

    The same seed makes the same network in every form.
    """

    def __init__(self, seed: int, form: Form) -> None:
        self.rng = np.random.default_rng(seed)
        self.form = form
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.outputs: dict[str, int] = {}  # the rank of each
        self.channels = self.one_of(3, 4, 8)
        sizes = EVEN_SIZES if self.chance(0.6) else SIZES
        first, second = self.rng.choice(len(sizes), 2, replace=False)
        self.sizes = sizes[first], sizes[second]
        (h0, w0), (h1, w1) = self.sizes
        self.high: Numbers = (h0, h1)
        self.wide: Numbers = (w0, w1)
        self.image = self.channels
        self.x = "image"
        self.folded = self.chance(0.3)
        self.of_size = False  # whether it reshapes, cuts or resizes by numbers of the image's size

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def one_of(self, *choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def fits(self, divisor: int, least: int = 1) -> bool:
        """True if this divides heights and widths, and so often."""
        return all(n % divisor == 0 and n // divisor >= least for n in (*self.high, *self.wide))

    @property
    def smallest(self) -> int:
        return min(*self.high, *self.wide)

    @property
    def most_pixels(self) -> int:
        return max(h * w for h, w in zip(self.high, self.wide, strict=True))

    # Constants and weights.

    def constant(self, array: Array) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, *shape: int, scale: float | None = None, mean: float = 0.0) -> str:
        fan = int(np.prod(shape[1:])) or 1
        deviation = fan**-0.5 if scale is None else scale
        return self.constant(self.rng.normal(mean, deviation, shape).astype(np.float32))

    def scalar(self, number: float) -> str:
        return self.constant(np.array(number, np.float32))

    def floats(self, *numbers: float) -> str:
        return self.constant(np.array(numbers, np.float32))

    def integers(self, *numbers: int | Length) -> str:
        """A list of numbers, some of which may be computed."""
        if not any(isinstance(number, Length) for number in numbers):
            return self.constant(np.array(numbers, np.int64))
        self.of_size = True
        if self.form.one_size:
            plain = [n.at[0] if isinstance(n, Length) else n for n in numbers]
            return self.constant(np.array(plain, np.int64))
        parts = [
            self.op("Unsqueeze", n.name, self.integers(0))
            if isinstance(n, Length)
            else self.integers(n)
            for n in numbers
        ]
        return self.op("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]

    # Lengths.

    def length(self, axis: int, x: str = "") -> Length:
        """Height (2) or width (3) of `x`, or of a tensor of the same size."""
        at = self.high if axis == 2 else self.wide
        if self.form.one_size:
            return Length(at, "")
        shape = self.op("Shape", x or self.x)
        return Length(at, self.op("Gather", shape, self.constant(np.array(axis)), axis=0))

    def computed(self, kind: str, first: Length, second: int | Length) -> Length:
        """Add, Sub, Mul or Div of lengths."""
        there = second.at if isinstance(second, Length) else (second, second)
        compute = {"Add": operator.add, "Sub": operator.sub, "Mul": operator.mul}
        function = compute.get(kind, operator.floordiv)
        at = function(first.at[0], there[0]), function(first.at[1], there[1])
        if self.form.one_size:
            return Length(at, "")
        other = second.name if isinstance(second, Length) else self.constant(np.array(second))
        return Length(at, self.op(kind, first.name, other))

    @property
    def batch(self) -> int:
        """The batch in a Reshape: the number of one size, or whatever there is."""
        return 0 if self.form.batch is None else self.form.batch

    # Nodes.

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        return self.several(kind, *inputs, outputs=outputs, **attributes)[0]

    def several(self, kind: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        names = [f"v{len(self.nodes)}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names

    def cut(self, x: str, axis: int, start: int | Length, end: int | Length, step: int = 1) -> str:
        """A Slice along one axis."""
        steps = [self.integers(step)] if step != 1 else []
        bounds = self.integers(start), self.integers(end)
        return self.op("Slice", x, *bounds, self.integers(axis), *steps)

    def model(self) -> onnx.ModelProto:
        batch = self.form.batch or "N"
        size = self.sizes[0] if self.form.one_size else ("H", "W")
        float_type = onnx.TensorProto.FLOAT
        image = helper.make_tensor_value_info("image", float_type, [batch, self.image, *size])
        kinds = {name: node.op_type for node in self.nodes for name in node.output}
        outputs = [
            helper.make_tensor_value_info(
                name,
                onnx.TensorProto.INT64 if kinds[name] == "ArgMax" else float_type,
                [None] * rank,
            )
            for name, rank in self.outputs.items()
        ]
        graph = helper.make_graph(self.nodes, "random", [image], outputs, self.weights)
        opsets = [helper.make_opsetid("", OPSET)]
        made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        onnx.checker.check_model(made)
        return made
