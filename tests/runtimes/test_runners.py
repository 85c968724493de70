"""Runners: every runtime takes and gives arrays by name, and wrappers change neither."""

import gc
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest

from onnx2mvit import inspect
from onnx2mvit.errors import InvalidModelError
from onnx2mvit.runtimes import (
    KerasLayout,
    KerasRunner,
    OnnxLayout,
    OnnxRuntimeRunner,
    keras_inputs,
)
from onnx2mvit.runtimes.runner import Array, InBatches, Inputs, Outputs
from tests.support.graphs import model, save, with_tensors

# Channels are told from places: y is x's channels, scaled, and m their means.
NET = """g (float[{batch},3,8,6] x) => (float[{batch},3,8,6] y, float[{batch},3] m) {{
    y = Mul(x, s)  m = ReduceMean<axes=[2,3], keepdims=0>(y)
}}"""
SCALE = np.arange(1, 4, dtype=np.float32).reshape(3, 1, 1)


def net(folder: Path, batch: int | str = "N") -> Path:
    return save(model(NET.format(batch=batch), opset=17, s=SCALE), folder)


def pixels(count: int) -> Array:
    return np.random.default_rng(0).uniform(size=(count, 8, 6, 3)).astype(np.float32)


def scaled(compiled: bool) -> KerasRunner:
    """The same network in Keras."""
    image = keras.Input((8, 6, 3))
    y = image * SCALE.reshape(3)
    return KerasRunner(keras.Model(image, [y, keras.ops.mean(y, (1, 2))]), compiled=compiled)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_model_and_a_file_answer_in_each_other_s_layout(tmp_path: Path, compiled: bool) -> None:
    file, images = net(tmp_path), pixels(2)
    network = inspect(file)
    given = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    theirs = OnnxRuntimeRunner(file)(given)
    assert theirs["y"].shape == (2, 3, 8, 6)
    ours = OnnxLayout(scaled(compiled), network)(given)
    assert list(ours) == ["y", "m"]
    swapped = KerasLayout(OnnxRuntimeRunner(file), network)(images)
    np.testing.assert_allclose(swapped["y"], images * SCALE.reshape(3), rtol=1e-6)
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, rtol=1e-5)


def test_what_is_made_of_weights_alone_is_an_inner_tensor_too(tmp_path: Path) -> None:
    """It is computed when it is asked for: to do so beforehand onnxruntime copies all weights."""
    text = "g (float[N,4] x) => (float[N,2] y) { t = Transpose(w)  h = Neg(t)  y = MatMul(x, h) }"
    weight = np.arange(8, dtype=np.float32).reshape(2, 4)
    runner = OnnxRuntimeRunner(save(model(text, opset=17, w=weight), tmp_path), inner=["h", "t"])
    images = pixels(1)[0, :3, :4, 0]
    answers = runner({"x": images})
    np.testing.assert_array_equal(answers["t"], weight.T)
    np.testing.assert_array_equal(answers["h"], -weight.T)
    np.testing.assert_allclose(answers["y"], images @ -weight.T, rtol=1e-6)


def test_inputs_go_by_their_names(tmp_path: Path) -> None:
    text = "g (float[2,3] a, float[2,3] b) => (float[2,3] y) { y = Sub(a, b) }"
    file = save(model(text), tmp_path)
    a, b = keras.Input((3,)), keras.Input((3,))
    ours = KerasRunner(keras.Model([a, b], a - b), inputs=["a", "b"], outputs=["y"])
    one, two = np.full((2, 3), 5, np.float32), np.ones((2, 3), np.float32)
    for runner in (ours, OnnxRuntimeRunner(file)):
        assert (runner({"b": two, "a": one})["y"] == 4).all()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_a_file_for_a_fixed_number_of_images_runs_on_any(tmp_path: Path, count: int) -> None:
    images = np.ascontiguousarray(pixels(count).transpose(0, 3, 1, 2))
    fixed, free = OnnxRuntimeRunner(net(tmp_path, 2)), OnnxRuntimeRunner(net(tmp_path))
    assert (fixed.batch, free.batch) == (2, None)
    answers = InBatches(fixed, fixed.batch)(images)
    for name, array in free(images).items():
        assert np.array_equal(answers[name], array)
    if count != fixed.batch:
        with pytest.raises(InvalidModelError, match="onnxruntime fails"):
            fixed(images)


def test_rows_of_the_images_that_fill_a_batch_up_are_cut_off() -> None:
    seen: list[int] = []

    def patches(inputs: Inputs) -> Outputs:
        assert isinstance(inputs, np.ndarray)
        seen.append(len(inputs))
        return {"rows": np.repeat(inputs, 3, axis=0)}

    found = InBatches(patches, 4)(np.arange(6))["rows"]
    assert seen == [4, 4]
    assert np.array_equal(found, np.repeat(np.arange(6), 3))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_one_row_for_two_images_is_kept_for_either(count: int) -> None:
    def sums(inputs: Inputs) -> Outputs:
        assert isinstance(inputs, np.ndarray)
        return {"rows": inputs[::2] + inputs[1::2]}

    found = InBatches(sums, 2)(np.arange(count))["rows"]
    assert found.tolist() == {1: [0], 2: [1], 3: [1, 4], 4: [1, 5]}[count]


def test_an_input_without_axes_keeps_none(tmp_path: Path) -> None:
    text = "g (float[N,4] x, float t) => (float[N,4] y) { y = Mul(x, t) }"
    network = inspect(save(model(text), tmp_path))
    given = {"x": np.ones((1, 4), np.float32), "t": np.array(2, np.float32)}
    taken = keras_inputs(network, given)
    assert {name: array.shape for name, array in taken.items()} == {"x": (1, 4), "t": ()}


def test_inner_tensors_are_given_by_name_and_unknown_ones_left_out(tmp_path: Path) -> None:
    text = "g (float[N,3] x) => (float[N,3] y) { a = Neg(x)  y = Exp(a) }"
    runner = OnnxRuntimeRunner(save(model(text), tmp_path), inner=["a", "nothing", "y"])
    assert runner.inner == ["a"]
    x = np.ones((2, 3), np.float32)
    assert list(runner(x)) == ["y", "a"]
    (a,) = runner.tensors(x, ["a"]).values()
    assert (a == -1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("apart", [False, True])
def test_large_weights_are_beside_the_model_that_is_run(
    tmp_path: Path, dtype: type[np.floating], apart: bool
) -> None:
    """As they stand in the file, in it or in one of their own; small ones stay where they are."""
    kind = {np.float32: "float", np.float64: "double", np.float16: "float16"}[dtype]
    large = np.random.default_rng(0).normal(size=(256, 256)).astype(dtype)
    nodes = "a = MatMul(x, large) y = Add(a, small)"
    body = f"g ({kind}[N,256] x) => ({kind}[N,256] y) {{ {nodes} }}"
    made = with_tensors(body, large=large, small=np.full(256, 0.5, dtype))
    path = tmp_path / "model.onnx"
    onnx.save(made, path, save_as_external_data=apart, location="data", size_threshold=1024)
    inputs = {"x": np.random.default_rng(1).normal(size=(2, 256)).astype(np.float32)}
    inner, plain = OnnxRuntimeRunner(path, inner=["a"]), OnnxRuntimeRunner(path, optimized=False)
    assert np.allclose(inner(inputs)["a"] + 0.5, inner(inputs)["y"], atol=0.05)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_prepacking", "1")
    itself = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (right,) = itself.run(["y"], {"x": inputs["x"].astype(dtype)})
    for runner in (inner, plain):
        assert np.array_equal(runner(inputs)["y"], right.astype(np.float32))


@pytest.mark.parametrize("optimized", [False, True])
def test_weights_stay_as_long_as_their_session(tmp_path: Path, optimized: bool) -> None:
    """It reads them in the file, where nobody else holds them, and where they were let go."""
    square = np.random.default_rng(0).normal(size=(512, 512)).astype(np.float32)
    made = model("g (float[N,512] x) => (float[N,512] y) { y = MatMul(x, square) }", square=square)
    path = save(made, tmp_path)
    inner = ["y"] if optimized else []
    runner = OnnxRuntimeRunner(path, inner=inner, optimized=optimized)
    del made
    gc.collect()
    x = np.eye(512, dtype=np.float32)
    for _ in range(3):
        assert np.array_equal(runner({"x": x})["y"], square)


@pytest.mark.parametrize("apart", [False, True])
def test_a_file_may_be_a_link(tmp_path: Path, apart: bool) -> None:
    """With weights in it, in a file beside the link, or both; onnxruntime itself refuses some."""
    square, data = np.eye(512, dtype=np.float32), tmp_path / "links" / "data"
    body = "g (float[N,512] x) => (float[N,512] y) { a = MatMul(x, one) y = MatMul(a, two) }"
    made = model(body, one=2 * square, two=3 * square)
    (tmp_path / "links").mkdir()
    if apart:
        (one,) = (tensor for tensor in made.graph.initializer if tensor.name == "one")
        data.write_bytes(one.raw_data)
        one.ClearField("raw_data")
        one.data_location = onnx.TensorProto.EXTERNAL
        one.external_data.add(key="location", value="data")
    path = tmp_path / "links" / "link.onnx"
    path.symlink_to(save(made, tmp_path))
    for runner in (OnnxRuntimeRunner(path, optimized=False), OnnxRuntimeRunner(path, inner=["a"])):
        assert np.array_equal(runner({"x": square})["y"], 6 * square)
