"""Float64Runner: a file without rounding, part by part, as ONNX's reference implementation."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from onnx2mvit.errors import UnsupportedError
from onnx2mvit.runtimes import Float64Runner, OnnxRuntimeRunner
from tests.support.graphs import model, save

IMAGE = np.random.default_rng(0).normal(size=(2, 4, 7, 9)).astype(np.float32)


@pytest.mark.parametrize(
    ("node", "weights"),
    [
        (
            "Conv<pads=[1,0,2,1], strides=[2,1], dilations=[1,2]>(x, w, b)",
            {"w": (6, 4, 3, 2), "b": (6,)},
        ),
        ("Conv<group=2>(x, w)", {"w": (6, 2, 2, 2)}),
        ("Conv<group=4, pads=[1,1,1,1]>(x, w)", {"w": (4, 1, 3, 3)}),
        ('Conv<auto_pad="SAME_UPPER", strides=[2,2]>(x, w)', {"w": (2, 4, 3, 3)}),
        ("MaxPool<kernel_shape=[3,2], strides=[2,2], pads=[1,0,1,0]>(x)", {}),
        ("MaxPool<kernel_shape=[2,2], strides=[2,2], ceil_mode=1>(x)", {}),
        ("AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(x)", {}),
        ('MaxPool<kernel_shape=[8,9], strides=[4,5], auto_pad="SAME_UPPER", ceil_mode=1>(x)', {}),
        ("AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1>(x)", {}),
        ('Resize<mode="linear">(x, , s)', {"s": np.array([1, 1, 2, 1.5])}),
        (
            'Resize<mode="linear", coordinate_transformation_mode="align_corners">(x, , , n)',
            {"n": np.array([2, 4, 10, 5])},
        ),
        ('Resize<mode="cubic">(x, , s)', {"s": np.array([1, 1, 2, 1.0])}),
        (
            'Resize<mode="nearest", nearest_mode="floor", '
            'coordinate_transformation_mode="asymmetric">(x, , s)',
            {"s": np.array([1, 1, 2, 3.0])},
        ),
    ],
)
def test_large_operators_answer_as_the_reference_in_float64(
    tmp_path: Path, node: str, weights: dict[str, Any]
) -> None:
    made = model(f"g (float[2,4,7,9] x) => (float[N,C,H,W] y) {{ y = {node} }}", **weights)
    file = save(made, tmp_path)
    found = Float64Runner(file)(IMAGE)["y"]
    assert found.dtype == np.float64
    narrow: Any = ReferenceEvaluator(made).run(None, {"x": IMAGE})
    np.testing.assert_allclose(found, narrow[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found, OnnxRuntimeRunner(file)(IMAGE)["y"], rtol=1e-5, atol=1e-5)


def test_a_sequence_has_its_tensors_in_float64(tmp_path: Path) -> None:
    """As torch's dynamo exporter cuts a tensor up (timm's CoAtNet)."""
    body = """g (float[2,4,7,9] x) => (float[2,2,7,9] y) {
        s = SplitToSequence<axis=1>(x, two)  a = SequenceAt(s, zero)  b = SequenceAt(s, one)
        y = Mul(a, b) }"""
    file = save(model(body, two=2, zero=0, one=1), tmp_path)
    runner = Float64Runner(file)
    for found in (runner(IMAGE)["y"], runner.near({"x": IMAGE}, "y")):
        assert found.dtype == np.float64
        wide = IMAGE.astype(np.float64)
        np.testing.assert_allclose(found, wide[:, :2] * wide[:, 2:], rtol=1e-12)
    rounded = runner.near({"x": IMAGE}, "y", rounding=1e-3)
    assert 1e-4 < np.abs(rounded / runner.near({"x": IMAGE}, "y") - 1).max() < 1e-2


@pytest.mark.parametrize("pool", ["AveragePool<count_include_pad=1, ", "AveragePool<", "MaxPool<"])
def test_a_window_far_larger_than_the_image_takes_no_more_memory(tmp_path: Path, pool: str) -> None:
    """Hugging Face's EfficientNet ends so: the reference makes an image as large as the window."""
    node = f"{pool}kernel_shape=[30000,30000], strides=[30000,30000], ceil_mode=1>(x)"
    file = save(model(f"g (float[2,4,7,9] x) => (float[N,C,H,W] y) {{ y = {node} }}"), tmp_path)
    found = Float64Runner(file)(IMAGE)["y"]
    expected = IMAGE.max((2, 3)) if pool == "MaxPool<" else IMAGE.mean((2, 3))
    np.testing.assert_allclose(found[..., 0, 0], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found, OnnxRuntimeRunner(file)(IMAGE)["y"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("opset", [16, 20])
def test_what_a_grid_samples_is_what_onnxruntime_answers(tmp_path: Path, opset: int) -> None:
    modes = {16: ("bilinear", "nearest", "bicubic"), 20: ("linear", "nearest", "cubic")}[opset]
    ways = product(modes, ("zeros", "border", "reflection"), (0, 1))
    nodes = [
        f'y{at} = GridSample<mode="{mode}", padding_mode="{pad}", align_corners={corners}>(x, g)'
        for at, (mode, pad, corners) in enumerate(ways)
    ]
    outputs = ", ".join(f"float[N,C,H,W] y{at}" for at in range(len(nodes)))
    grid = np.random.default_rng(1).uniform(-1.7, 1.7, (2, 5, 6, 2))
    made = model(
        f"g (float[2,4,7,9] x) => ({outputs}) {{ {' '.join(nodes)} }}", opset=opset, g=grid
    )
    file = save(made, tmp_path)
    found = Float64Runner(file)(IMAGE)
    for name, theirs in OnnxRuntimeRunner(file)(IMAGE).items():
        np.testing.assert_allclose(found[name], theirs, rtol=1e-5, atol=1e-5)


CHAIN = """g (float[1,3] x) => (float[1,3] y, int64[1] k) {
    h = Constant<value_float=0.1>()  a = Mul(x, h)  b = Cast<to=1>(a)  c = Exp(b)
    d = Identity(c)  y = Add(d, a)  k = ArgMax<keepdims=0, axis=1>(y) }"""
ROW = np.array([[0.1, 2, -3]], np.float32)


def test_what_the_reference_has_in_other_opsets_or_not_at_all_is_computed(tmp_path: Path) -> None:
    text = """g (float[2,3] x) => (float[2,4] y, float[2,4] z, float[2,1] norm) {
        i = Cast<to=3>(k)  n = Cast<to=3>(zeros)
        v = DequantizeLinear<axis=1>(i, each, n)  w = DequantizeLinear(i, one)
        y = MatMul(x, v)  z = MatMul(x, w)
        r = Reshape(x, row)  m = GlobalLpPool<p=3>(r)  norm = Flatten(m) }"""
    steps = np.random.default_rng(0).integers(-128, 128, (3, 4)).astype(np.int8)
    zeros = np.array([0, 3, -5, 100], np.int8)
    made = model(
        text,
        opset=13,
        k=steps,
        each=np.array([0.1, 2, 0.5, 1e-3]),
        one=0.25,
        zeros=zeros,
        row=[2, 1, 3],
    )
    file, rows = save(made, tmp_path), np.random.default_rng(1).normal(size=(2, 3))
    found, right = Float64Runner(file)(rows), OnnxRuntimeRunner(file)(rows.astype(np.float32))
    for name, answer in right.items():
        np.testing.assert_allclose(found[name], answer, rtol=1e-5, atol=1e-4)


def test_nothing_is_rounded_and_integers_stay(tmp_path: Path) -> None:
    runner = Float64Runner(save(model(CHAIN), tmp_path), inner=["a", "d", "nothing"])
    assert (runner.inputs, runner.outputs, runner.inner) == (["x"], ["y", "k"], ["a", "d"])
    right = ROW.astype(np.float64) * np.float64(np.float32(0.1))
    assert np.array_equal(runner.tensors(ROW, ["a"])["a"], right)
    np.testing.assert_allclose(runner.tensors(ROW, ["d"])["d"], np.exp(right), rtol=1e-15)
    answers = runner(ROW)
    np.testing.assert_allclose(answers["y"], np.exp(right) + right, rtol=1e-15)
    assert answers["k"].tolist() == [1]
    # What is gone by now is computed again, and other inputs begin anew.
    assert np.array_equal(runner.tensors(ROW, ["a"])["a"], right)
    assert np.array_equal(runner.tensors(2 * ROW, ["a"])["a"], 2 * right)


def test_a_tensor_is_computed_from_others_before_it(tmp_path: Path) -> None:
    runner = Float64Runner(save(model(CHAIN), tmp_path), inner=["a", "d"])
    found = runner.near({"d": np.full((1, 3), 2.0), "a": ROW}, "y")
    assert np.array_equal(found, 2.0 + ROW.astype(np.float64))


def test_sizes_stay_what_they_are_where_all_else_is_rounded(tmp_path: Path) -> None:
    text = """g (float[N,3,4] x) => (float[N,3,4] y) {
        s = Shape(x)  f = Cast<to=1>(s)  half = Constant<value_float=0.5>()
        h = Mul(f, half)  d = Add(h, h)  i = Cast<to=7>(d)  y = Reshape(x, i)
    }"""
    pixels = np.random.default_rng(0).uniform(1, 2, (2, 3, 4)).astype(np.float32)
    found = Float64Runner(save(model(text), tmp_path)).near({"x": pixels}, "y", rounding=0.01)
    off = np.abs(found / pixels - 1)
    assert found.shape == pixels.shape and off.max() < 0.021 and off.min() > 0


def test_what_the_reference_lacks_is_said(tmp_path: Path) -> None:
    text = "g (float[1,3] x) => (float[1,3] y) { y = com.example.Odd(x) }"
    made = model(text)
    made.opset_import.add(domain="com.example", version=1)
    with pytest.raises(UnsupportedError, match="Odd"):
        Float64Runner(save(made, tmp_path))(ROW)


@pytest.mark.parametrize("opset", [9, 13, 17])
def test_normalization_is_by_the_statistics_of_the_file(tmp_path: Path, opset: int) -> None:
    weights: dict[str, Any] = {"g": (4,), "b": (4,), "m": (4,), "v": np.array([0.5, 1, 2, 3])}
    body = "g (float[2,4,7,9] x) => (float[2,4,7,9] y) { y = BatchNormalization(x, g, b, m, v) }"
    file = save(model(body, opset=opset, **weights), tmp_path)
    found = Float64Runner(file)(IMAGE)["y"]
    np.testing.assert_allclose(found, OnnxRuntimeRunner(file)(IMAGE)["y"], rtol=1e-5, atol=1e-5)
