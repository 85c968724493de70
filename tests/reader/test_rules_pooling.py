"""The rules for zeros around an image, for windows as large as one, and for gates of channels."""

from typing import Any

import numpy as np
import pytest

from onnx2mvit.ir.graph import Graph
from onnx2mvit.ir.window import window_of
from tests.reader.test_rules import only, ops, unified

# Read by tests.support.rules_table.
COVERS = {
    "PadIntoConv",
    "AveragePoolIsMean",
    "FlattenOfPixelIsMean",
    "LinearGateIsConv",
}

SIDES = [0, 0, 0, 1, 0, 0, 1, 2]  # one row below, a column on the left and two on the right


def padded(pad: str, conv: str = "Conv(p, w)", opset: int = 18, **weights: Any) -> Graph:
    constants: dict[str, Any] = {
        "w": (4, 2, 3, 3),
        "sides": SIDES,
        "zero": np.float32(0),
        "one": np.float32(1),
    }
    body = f"(float[1,2,8,8] x) => (float y) {{ p = {pad}  y = {conv} }}"
    return unified(body, opset=opset, **constants | weights)


@pytest.mark.parametrize(
    ("pad", "opset"),
    [
        ("Pad(x, sides)", 11),
        ("Pad(x, sides, zero)", 13),
        ('Pad<mode="constant">(x, sides, zero)', 18),
        ("Pad(x, short, zero, axes)", 18),
        ("Pad(x, short, , negative)", 18),
    ],
)
def test_zeros_around_an_image_are_padding(pad: str, opset: int) -> None:
    sizes = {"short": [0, 1, 1, 2], "axes": [2, 3], "negative": [-2, -1]}
    graph = padded(pad, "Conv(p, w)", opset, **sizes)
    assert ops(graph) == ["Conv"]
    assert only(graph, "Conv").attrs["pads"] == (0, 1, 1, 2)


def test_they_come_on_top_of_those_that_are_there() -> None:
    graph = padded("Pad(x, sides)", "Conv<pads=[1,1,1,1], strides=[2,2]>(p, w, b)", b=(4,))
    assert ops(graph) == ["Conv"]
    conv = only(graph, "Conv")
    assert (conv.attrs["pads"], conv.attrs["strides"]) == ((1, 2, 2, 3), (2, 2))
    assert len(conv.inputs) == 3


def test_same_is_counted_from_the_padded_size() -> None:
    conv = 'Conv<auto_pad="SAME_UPPER", strides=[2,2]>(p, w)'
    graph = padded("Pad(x, sides)", conv)
    assert ops(graph) == ["Pad", "Conv"]  # together they are explicit at one size alone
    assert window_of(only(graph, "Conv")).pads == ((1, 1), (1, 1))  # of 9×11


@pytest.mark.parametrize(
    "pad",
    [
        "Pad(x, sides, one)",
        'Pad<mode="edge">(x, sides)',
        'Pad<mode="reflect">(x, sides)',
        "Pad(x, cut)",
        "Pad(x, channels)",
    ],
)
def test_what_is_not_zeros_around_an_image_stays(pad: str) -> None:
    cut, channels = [0, 0, -1, 0, 0, 0, 1, 1], [0, 1, 0, 0, 0, 0, 0, 0]
    shape = (4, 3 if "channels" in pad else 2, 3, 3)
    assert ops(padded(pad, cut=cut, channels=channels, w=shape)) == ["Pad", "Conv"]


def test_zeros_before_a_maximum_stay() -> None:
    assert ops(padded("Pad(x, sides)", "MaxPool<kernel_shape=[3,3]>(p)")) == ["Pad", "MaxPool"]


def test_zeros_that_are_an_output_are_padding_as_well() -> None:
    graph = unified(
        "(float[1,2,8,8] x) => (float p, float y) { p = Pad(x, sides)  y = Conv(p, w) }",
        w=(4, 2, 3, 3),
        sides=SIDES,
    )
    assert sorted(ops(graph)) == ["Conv", "Pad"]
    assert only(graph, "Conv").inputs[0] is graph.inputs[0]


@pytest.mark.parametrize(
    "attrs",
    [
        "kernel_shape=[4,5]",
        "kernel_shape=[4,5], strides=[4,5], pads=[0,0,0,0]",
        'kernel_shape=[4,5], auto_pad="VALID"',
        "kernel_shape=[100,100], strides=[100,100], ceil_mode=1",
    ],
)
def test_a_window_as_large_as_the_image_is_a_mean(attrs: str) -> None:
    graph = unified(f"(float[2,3,4,5] x) => (float y) {{ y = AveragePool<{attrs}>(x) }}")
    assert ops(graph) == ["ReduceMean"]
    attributes = only(graph, "ReduceMean").attrs
    assert attributes.pop("traced", 0) == ("100" not in attrs)  # of a larger image it is none
    assert attributes == {"axes": (2, 3), "keepdims": 1}


@pytest.mark.parametrize(
    "attrs",
    [
        "kernel_shape=[4,4]",
        "kernel_shape=[4,4], strides=[2,2]",
        "kernel_shape=[3,5], strides=[2,1]",
        "kernel_shape=[6,7], pads=[1,1,1,1]",
        "kernel_shape=[6,7], pads=[1,1,1,1], count_include_pad=1",
        'kernel_shape=[5,5], strides=[5,5], auto_pad="SAME_UPPER"',
    ],
)
def test_another_window_stays(attrs: str) -> None:
    graph = unified(f"(float[2,3,4,5] x) => (float y) {{ y = AveragePool<{attrs}>(x) }}")
    assert ops(graph) == ["AveragePool"]


@pytest.mark.parametrize("flatten", ["Flatten(m)", "Reshape(m, shape)", "Squeeze(m, axes)"])
def test_flattening_one_pixel_is_its_mean(flatten: str) -> None:
    graph = unified(
        f"(float[2,3,4,5] x) => (float y) {{ m = GlobalMaxPool(x)  y = {flatten} }}",
        shape=[0, -1],
        axes=[2, 3],
    )
    assert ops(graph) == ["GlobalMaxPool", "ReduceMean"]
    assert only(graph, "ReduceMean").attrs == {"axes": (2, 3), "keepdims": 0, "traced": 1}


@pytest.mark.parametrize(
    ("size", "shape"), [("4,5", [2, 60]), ("1,5", [2, 15]), ("1,1", [3, 2]), ("1,1", [2, 1, 3])]
)
def test_another_shape_stays(size: str, shape: list[int]) -> None:
    graph = unified(
        f"(float[2,3,{size}] x) => (float y) {{ m = Sigmoid(x)  y = Reshape(m, s) }}", s=shape
    )
    assert ops(graph) == ["Sigmoid", "Reshape"]


GATE = """(float[2,6,6,5] x) => (float y) {{
    m = ReduceMean<axes=[2,3], keepdims=0>({mean})
    r = MatMul(m, w)  s = {reduced}  a = {act}
    e = MatMul(a, v)  f = {expanded}  g = {gate}
    h = Reshape(g, shape)  y = Mul(x, h)
}}"""
USUAL = {
    "mean": "x",
    "reduced": "Add(r, b)",
    "act": "Relu(s)",
    "expanded": "Add(c, e)",
    "gate": "Sigmoid(f)",
}


def gated(**changed: Any) -> Graph:
    shape = changed.pop("shape", [2, 6, 1, 1])
    body = GATE.format(**USUAL | changed)
    return unified(body, w=(6, 3), b=(3,), v=(3, 6), c=(6,), shape=shape)


@pytest.mark.parametrize(
    ("changed", "act", "gate"),
    [
        ({}, ["Relu"], "Sigmoid"),
        ({"act": "HardSwish(s)"}, ["HardSwish"], "Sigmoid"),
        ({"act": "Mul(s, t)", "reduced": "Add(b, r)  t = Sigmoid(s)"}, ["Sigmoid", "Mul"],
         "Sigmoid"),
        ({"gate": "HardSigmoid<alpha=0.16666667>(f)"}, ["Relu"], "HardSigmoid"),
        ({"reduced": "Identity(r)", "expanded": "Identity(e)"}, ["Relu"], "Sigmoid"),
    ],
)  # fmt: skip
def test_linear_layers_on_a_mean_image_are_convolutions(
    changed: dict[str, str], act: list[str], gate: str
) -> None:
    graph = gated(**changed)
    assert ops(graph) == ["ReduceMean", "Conv", *act, "Conv", gate, "Mul"]
    assert only(graph, "ReduceMean").attrs == {"axes": (2, 3), "keepdims": 1}
    first, second = graph.of(["Conv"])
    assert (first.output.shape, second.output.shape) == ((2, 3, 1, 1), (2, 6, 1, 1))
    assert len(first.inputs) == (2 if "Identity" in changed.get("reduced", "") else 3)


@pytest.mark.parametrize(
    "changed",
    [
        {"gate": "Tanh(f)"},
        {"act": "Sin(s)"},
        {"shape": [2, 1, 6, 1], "mean": "x"},
        {"act": "Mul(s, t)", "reduced": "Add(r, b)  t = Sigmoid(r)"},
    ],
    ids=["gate", "activation", "shape", "not silu"],
)
def test_other_linear_layers_stay(changed: Any) -> None:
    assert "MatMul" in ops(gated(**changed))
