"""What no pattern takes: batches, sizes, and what is said of what cannot be converted."""

import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import onnx2mvit
from onnx2mvit.cli import main
from onnx2mvit.emitter.emit import emit
from onnx2mvit.errors import UnsupportedError
from onnx2mvit.lifter import lift
from onnx2mvit.lowering import lower
from onnx2mvit.runtimes.images import structured_images
from tests.support.graphs import graph, model, save

IMAGE = "float[N,4,32,32] x"
OF_IMAGE = "i = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(x)"  # says what the axes are
WHOLE = f"{OF_IMAGE}  a = Tan(i)  b = ReduceMax<axes=[0], keepdims=1>(a)  y = Sub(a, b)"


def convert(folder: Path, nodes: str, image: str = IMAGE, **how: Any) -> onnx2mvit.Conversion:
    options = {key: how.pop(key) for key in ("image_size", "verify") if key in how}
    made = model(f"g ({image}) => (float y) {{ {nodes} }}", opset=13, **how)
    return onnx2mvit.convert(save(made, folder), folder / "out", **options)


@pytest.mark.parametrize(
    "nodes",
    [
        WHOLE,
        "a = Softmax<axis=0>(x)  y = Neg(a)",
        "a = Reshape(x, [32,-1])  b = Tan(a)  y = Reshape(b, [-1,4,32,32])",
        "t = Transpose<perm=[1,0,2,3]>(x)  a = Reshape(t, [12,-1])  y = Tan(a)",
        "a = Concat<axis=0>(x, x)  y = Tan(a)",
    ],
)
def test_images_of_one_batch_do_not_see_each_other(tmp_path: Path, nodes: str) -> None:
    nodes, weights = constants(nodes)
    with pytest.raises(UnsupportedError, match="mixes"):
        convert(tmp_path, nodes, **weights)


def constants(nodes: str) -> tuple[str, dict[str, Any]]:
    """The lists in a text as constants."""
    weights: dict[str, Any] = {}
    parts = nodes.replace(", [", ", §").split("§")
    text = parts[0]
    for part in parts[1:]:
        numbers, _, rest = part.partition("]")
        name = f"c{len(weights)}"
        weights[name] = [int(number) for number in numbers.split(",")]
        text += name + rest
    return text, weights


def test_a_file_for_one_size_of_batch_may_mix_it_and_fixes_it(tmp_path: Path) -> None:
    result = convert(tmp_path, WHOLE, image=IMAGE.replace("N", "3"))
    assert result.passed
    assert result.model.input_shape == (3, 32, 32, 4)
    assert "batch_size=3" in result.source.read_text(encoding="utf-8")


def test_a_file_for_one_size_of_batch_that_does_not_mix_it_takes_any(tmp_path: Path) -> None:
    nodes = f"{OF_IMAGE}  a = Tan(i)  b = ReduceMax<axes=[1], keepdims=1>(a)  y = Sub(a, b)"
    result = convert(tmp_path, nodes, image=IMAGE.replace("N", "3"))
    assert result.passed
    assert result.model.input_shape == (None, 32, 32, 4)


def test_a_batch_of_one_may_go_away(tmp_path: Path) -> None:
    # Without its axis the images of a larger batch could not be told apart.
    nodes, weights = constants("a = Tan(x)  y = Reshape(a, [4,32,32])")
    result = convert(tmp_path, nodes, image=IMAGE.replace("N", "1"), **weights)
    assert result.passed


NETWORK = """
    c = Conv<pads=[1,1,1,1]>(x, w, b)  r = Relu(c)
    t = Atan(r)  m = Mul(t, scale)  s = Add(m, r)
    p = GlobalAveragePool(s)  f = Flatten(p)  l = MatMul(f, k)  y = Softmax<axis=1>(l)"""
WEIGHTS: dict[str, Any] = {"w": (8, 4, 3, 3), "b": (8,), "scale": (8, 1, 1), "k": (8, 5)}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> onnx2mvit.Conversion:
    """A network of blocks and of single operators between them."""
    return convert(tmp_path_factory.mktemp("mixed"), NETWORK, **WEIGHTS)


def test_blocks_and_single_operators_are_counted(mixed: onnx2mvit.Conversion) -> None:
    assert mixed.passed
    coverage = mixed.report["coverage"]
    assert coverage["unsupported"] == 0
    assert 2 <= coverage["single_ops"] < coverage["nodes"]
    assert coverage["nodes"] == coverage["in_blocks"] + coverage["single_ops"]
    single = [block for block in mixed.blocks if block.code is not None]
    assert len(single) == coverage["single_ops"]
    assert {"Atan", "Mul"} <= {block.kind for block in single}


def test_what_no_pattern_took_is_shown_though_it_is_converted(tmp_path: Path) -> None:
    body = f"g ({IMAGE}) => (float y) {{ {NETWORK} }}"
    network = onnx2mvit.inspect(save(model(body, opset=13, **WEIGHTS), tmp_path))
    assert not network.refused
    assert {"Atan", "Mul"} <= {node.op for node in network.unrecognised}
    assert 0 < network.coverage.percent < 100
    bare = lower(lift(graph(tmp_path, body, opset=13, **WEIGHTS), patterns=()))
    assert bare.coverage.in_blocks == 0
    assert bare.coverage.single_ops == bare.coverage.nodes == network.coverage.nodes


@pytest.mark.parametrize(("reader", "single"), [("Conv(t, w, b)", 0), ("Atan(t)", 2)])
def test_a_transpose_that_blocks_need_none_for_is_not_counted(
    reader: str, single: int, tmp_path: Path
) -> None:
    """Channels are last before it, and last in Keras after it."""
    body = (
        "g (float[2,6,6,4] x) => (float y) { "
        "n = LayerNormalization(x, s, o)  t = Transpose<perm=[0,3,1,2]>(n)  "
        f"y = {reader} }}"
    )
    weights = {"s": (4,), "o": (4,), "w": WEIGHTS["w"], "b": WEIGHTS["b"]}
    network = lower(lift(graph(tmp_path, body, **weights)))
    assert network.coverage.single_ops == single


def test_all_its_layers_are_keras_s_own_and_it_loads(mixed: onnx2mvit.Conversion) -> None:
    loaded = keras.models.load_model(mixed.folder / f"{mixed.model.name}.keras")
    for operation in loaded.operations:
        assert type(operation).__module__.startswith("keras.")
        assert "Lambda" not in type(operation).__name__
    images = structured_images(2, 32, 32, 4)
    theirs, ours = (keras.ops.convert_to_numpy(m(images)) for m in (loaded, mixed.model))
    assert np.array_equal(theirs, ours)


@pytest.mark.parametrize("batch", [1, 2, 4, 5, 8])
def test_it_takes_any_batch(mixed: onnx2mvit.Conversion, batch: int) -> None:
    # 4, 5 and 8 are lengths of other axes: a sum must not take one for the other.
    images = structured_images(batch, 32, 32, 4)
    together = keras.ops.convert_to_numpy(mixed.model(images))
    alone = [keras.ops.convert_to_numpy(mixed.model(images[i : i + 1])) for i in range(batch)]
    assert together.shape == (batch, 5)
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-5)


def test_it_trains(mixed: onnx2mvit.Conversion) -> None:
    trained = keras.models.load_model(mixed.folder / f"{mixed.model.name}.keras")
    trained.compile(keras.optimizers.SGD(0.1), "categorical_crossentropy")
    images = structured_images(4, 32, 32, 4)
    before = [keras.ops.convert_to_numpy(weight) for weight in trained.trainable_weights]
    losses = [trained.train_on_batch(images, np.eye(5)[[0, 1, 2, 3]]) for _ in range(5)]
    assert losses[-1] < losses[0]
    for old, new in zip(before, trained.trainable_weights, strict=True):
        assert not np.array_equal(old, keras.ops.convert_to_numpy(new)), new.path


def test_a_constant_of_many_numbers_is_a_weight_with_a_path(mixed: onnx2mvit.Conversion) -> None:
    single = next(block for block in mixed.blocks if block.kind == "Mul")
    paths = [weight.path for weight in mixed.model.weights]
    assert f"{single.path}/embeddings" in paths


FIXED, FLAT = constants(
    f"{OF_IMAGE}  a = Tan(i)  b = Reshape(a, [0,4,16,2,-1])  y = ReduceMax<axes=[2]>(b)"
)


def test_a_single_operator_may_hold_for_one_size_alone(tmp_path: Path) -> None:
    result = convert(tmp_path, FIXED, **FLAT)
    assert result.passed
    assert result.report["sizes"]["by_rule"].startswith("none but the traced one: 'reshape")
    assert "holds for that size alone" in result.report["sizes"]["by_rule"]
    assert "some operations hold for this one alone" in result.source.read_text(encoding="utf-8")


@pytest.mark.parametrize("size", [(64, 64), (32, 48), "any"])
def test_then_another_size_is_refused(tmp_path: Path, size: Any) -> None:
    with pytest.raises(UnsupportedError, match=r"only be made for images of 32×32.*Reshape"):
        convert(tmp_path, FIXED, image_size=size, **FLAT)
    assert not (tmp_path / "out").exists()
    assert convert(tmp_path, FIXED, image_size=(32, 32), verify=False, **FLAT).model


def test_a_file_of_dynamic_size_may_be_converted_for_one_alone(tmp_path: Path) -> None:
    result = convert(tmp_path, FIXED, image="float[N,4,H,W] x", **FLAT)
    assert result.passed
    assert result.report["sizes"]["file_elsewhere"] is None


@pytest.mark.parametrize("shape", [(4, 32, 32), (32, 32), (1, 4, 32, 32)])
def test_a_number_for_each_pixel_holds_for_one_size_alone(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    with pytest.raises(UnsupportedError, match="only be made for images of 32×32"):
        convert(tmp_path, f"{OF_IMAGE}  a = Tan(i)  y = Add(a, n)", n=shape, image_size=(64, 64))


def test_what_does_not_fit_another_size_is_refused_for_it(tmp_path: Path) -> None:
    row: dict[str, Any] = {"n": (1, 32)}
    made = convert(tmp_path, f"{OF_IMAGE}  a = Tan(i)  y = Add(a, n)", **row)
    assert made.report["sizes"]["by_rule"].startswith("none but the traced one")
    with pytest.raises(UnsupportedError, match="only be made for images of 32×32"):
        convert(tmp_path, f"{OF_IMAGE}  a = Tan(i)  y = Add(a, n)", image_size=(64, 64), **row)


@pytest.mark.parametrize("size", [(64, 48), "any"])
def test_single_operators_that_hold_for_any_size(tmp_path: Path, size: Any) -> None:
    nodes = "a = Tan(x)  m = Mul(a, n)  y = ReduceMean<axes=[2,3]>(m)"
    result = convert(tmp_path, nodes, n=(4, 1, 1), image_size=size)
    assert result.passed
    images = structured_images(2, 64, 48, 4)
    scale = result_scale(result).reshape(4)
    expected = (np.tan(images) * scale).mean((1, 2), keepdims=True)
    ours = keras.ops.convert_to_numpy(result.model(images))
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


def result_scale(result: onnx2mvit.Conversion) -> Any:
    scale = model("g (float[1] x) => (float[1] y) { y = Neg(x) }", n=(4, 1, 1))
    from onnx import numpy_helper

    return numpy_helper.to_array(scale.graph.initializer[0])


ODD = """c = Conv<pads=[1,1,1,1]>(x, w, b)  r = Relu(c)
    h = Hardmax<axis=1>(r)  d = Det(h)  e = Tan(d)  y = Neg(e)"""


def test_what_cannot_be_converted_is_named_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = model(f"g ({IMAGE}) => (float y) {{ {ODD} }}", opset=13, **WEIGHTS)
    made.graph.node[3].name = "/encoder/layer.2/head/Det"
    path = save(made, tmp_path)
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["onnx2mvit", "convert", str(path), "-o", str(out)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 4
    message = capsys.readouterr().err.splitlines()[-1]
    for part in (
        "error: node '/encoder/layer.2/head/Det' (Det, opset 13, in module 'encoder.layer.2.head')",
        "as a single operator it cannot be converted: operator Det is not known",
    ):
        assert part in message
    assert not out.exists()
    monkeypatch.setattr(sys, "argv", ["onnx2mvit", "inspect", str(path), "--json"])
    with pytest.raises(SystemExit):
        main()
    told = json.loads(capsys.readouterr().out)
    assert told["coverage"]["unsupported"] == 1
    assert [entry["op"] for entry in told["leftovers"]] == ["Det"]


def test_what_cannot_be_converted_comes_with_the_closest_pattern_and_what_differs(
    tmp_path: Path,
) -> None:
    nodes = "c = Conv<pads=[1,1,1,1]>(x, w, b)  s = Bernoulli<seed=1.0>(c)  y = Mul(s, c)"
    made = model(f"g ({IMAGE}) => (float y) {{ {nodes} }}", opset=15, **WEIGHTS)
    network = onnx2mvit.inspect(save(made, tmp_path))
    with pytest.raises(UnsupportedError) as caught:
        emit(network, "net", "test")
    message = str(caught.value)
    assert "(Bernoulli, opset 15)" in message
    assert "The closest pattern is " in message
    assert ": its Sigmoid is missing: in its place is " in message


def test_a_scalar_after_something_that_is_refused(tmp_path: Path) -> None:
    # It has no axis for the batch.
    nodes = "t = ReduceMax<keepdims=0>(x)  m = Mul(t, half)  y = Tan(m)"
    body = f"g ({IMAGE}) => (float y) {{ {nodes} }}"
    network = onnx2mvit.inspect(save(model(body, opset=13, half=np.float32(0.3)), tmp_path))
    assert [node.op for node in network.refused] == ["ReduceMax"]
