"""Static int8: what can be so, its ranges, and blocks that are so where a target allows it."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnx2mvit
from onnx2mvit.deployment import describe_model
from onnx2mvit.deployment.int8 import READING, quantizable, quantized_file
from onnx2mvit.deployment.interface import Interface
from onnx2mvit.deployment.litert import litert_model, operators
from onnx2mvit.deployment.static_int8 import _least_square, activation_ranges, static_operators
from onnx2mvit.runtimes import LiteRTRunner
from tests.support.command_line import Run
from tests.support.graphs import save
from tests.support.photographs import colour_network, folder_of_classes

for package in ("ai_edge_litert", "ai_edge_quantizer"):
    pytest.importorskip(package)

pytestmark = pytest.mark.xdist_group("deploy")
Hybrid = tuple[bytes, Interface, np.ndarray[Any, Any]]


@pytest.fixture(scope="module")
def hybrid() -> Hybrid:
    """A stem, an inverted residual and, on tokens, a perceptron; ten classes."""
    import keras
    from keras import layers

    def conv(x: Any, filters: int, kernel: int, name: str) -> Any:
        return layers.Conv2D(filters, kernel, padding="same", name=name)(x)

    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3), name="image")
    stem = keras.ops.silu(conv(image, 8, 3, "stem"))
    x = keras.ops.silu(conv(stem, 16, 1, "grow"))
    x = keras.ops.silu(layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x))
    x = layers.Add(name="residual")([stem, conv(x, 8, 1, "shrink")])
    tokens = layers.LayerNormalization(name="norm")(layers.Reshape((256, 8))(x))
    tokens = tokens + keras.ops.silu(layers.Dense(8, name="dense")(tokens))
    x = layers.Reshape((16, 16, 8))(tokens)
    x = layers.GlobalAveragePooling2D()(keras.ops.silu(conv(x, 8, 1, "last")))
    model = keras.Model(image, layers.Dense(10, name="head")(x))
    interface = describe_model(model, 1, None)
    pixels = np.random.default_rng(0).random((8, 16, 16, 3), dtype=np.float32)
    return litert_model(model, interface), interface, pixels


def test_convolutions_and_what_lies_between_them_can_be_static(hybrid: Hybrid) -> None:
    """Of the operators on tokens none can."""
    found = static_operators(hybrid[0])
    assert Counter(each.kind for each in found) == {
        "CONV_2D": 4,
        "DEPTHWISE_CONV_2D": 1,
        "LOGISTIC": 4,
        "MUL": 4,
        "ADD": 1,
    }
    assert not any(name in each.scope for each in found for name in ("norm", "dense", "head"))


def test_a_static_block_is_in_integers_from_end_to_end(hybrid: Hybrid) -> None:
    content, interface, pixels = hybrid
    found = static_operators(content)
    static = found[: 1 + [each.kind for each in found].index("ADD")]
    scopes = {each.scope for each in static}
    dynamic = [each for each in quantizable(content) if each.scope not in scopes]
    ranges = activation_ranges(content, interface, {"image": pixels})
    made = quantized_file(content, dynamic, static, ranges)
    assert (operators(made)["QUANTIZE"], operators(made)["DEQUANTIZE"]) == (1, 1)
    ours, theirs = (
        np.concatenate([*LiteRTRunner(file)(image).values()])
        for file in (made, content)
        for image in [pixels[:1]]
    )
    noise, signal = np.square(ours - theirs).mean(), np.square(theirs).mean()
    assert 20 < 10 * np.log10(signal / noise) < 60


def test_ranges_are_of_tensors_between(hybrid: Hybrid) -> None:
    content, interface, pixels = hybrid
    ranges = activation_ranges(content, interface, {"image": pixels})
    (image,) = (bounds for name, bounds in ranges.items() if name.endswith("image:0"))
    assert image["min"] == 0 and image["max"] == pytest.approx(1, abs=0.01)
    gate = next(each for each in static_operators(content) if each.kind == "LOGISTIC")
    low, high = ranges[gate.scope.strip(";")].values()
    assert 0 == low < high <= 1


def test_weights_have_a_scale_for_each_channel(hybrid: Hybrid) -> None:
    from ai_edge_litert.tools.flatbuffer_utils import read_model_from_bytearray

    content, interface, pixels = hybrid
    ranges = activation_ranges(content, interface, {"image": pixels})
    stem = static_operators(content)[:1]
    made = bytearray(quantized_file(content, [], stem, ranges))
    (graph,) = read_model_from_bytearray(made).subgraphs
    (kernel,) = (each for each in graph.tensors if tuple(each.shape) == (8, 3, 3, 3))
    assert len(kernel.quantization.scale) == 8


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_filter_that_is_its_bias_alone_keeps_it() -> None:
    """Its weights make steps so small that 32 bits do not count the bias in them."""
    import keras
    from keras import layers

    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 1, name="conv")(image)
    model = keras.Model(image, layers.DepthwiseConv2D(3, name="depthwise")(x))
    for name, axis in (("conv", -1), ("depthwise", -2)):
        kernel, bias = model.get_layer(name).get_weights()
        np.moveaxis(kernel, axis, 0)[:2] *= [[[[0]]], [[[1e-12]]]]
        model.get_layer(name).set_weights([kernel, bias + 0.7])
    interface = describe_model(model, 1, None)
    content = litert_model(model, interface)
    pixels = np.random.default_rng(0).random((4, 8, 8, 3), dtype=np.float32)
    ranges = activation_ranges(content, interface, {"image": pixels})
    made = quantized_file(content, [], static_operators(content), ranges)
    (answer,) = LiteRTRunner(made)(pixels[:1]).values()
    np.testing.assert_allclose(answer[..., :2], 0.7, atol=0.02)


def test_a_range_has_the_least_square_error() -> None:
    rng = np.random.default_rng(0)
    for values in (rng.normal(size=4000) ** 3, rng.random(4000), -rng.random(9), np.zeros(3)):
        low, high = _least_square(values)
        assert values.min() <= low <= 0 <= high <= max(values.max(), 0) or low == 0
        assert error(values, low, high) <= error(values, min(values.min(), 0), max(values.max(), 0))
    low, high = _least_square(np.array([-0.28, 4.0] + 4000 * [0.5]))
    assert low < -0.05  # the short end is not cut with the long one


def error(values: np.ndarray[Any, Any], low: float, high: float) -> float:
    step = (high - low) / 255 or 1.0
    zero = round(-low / step)
    rounded = (np.clip(np.round(values / step) + zero, 0, 255) - zero) * step
    return float(np.square(rounded - values).mean())


def test_int8_saves_multiplications_and_costs_what_is_rounded(hybrid: Hybrid) -> None:
    """A static convolution reads integers; a dynamic one of few filters is slower than float32."""
    static = {each.scope: each.saved for each in static_operators(hybrid[0])}
    stem, grow, *_ = (each for each in quantizable(hybrid[0]) if each.kind == "CONV_2D")
    for each, weights, channels in ((stem, 3 * 3 * 3 * 8, 3), (grow, 8 * 16, 8)):
        assert static[each.scope] == 256 * weights
        assert each.saved == 256 * (weights - READING * channels)
    assert sum(saved > 0 for saved in static.values()) == 4  # its convolutions, no depthwise one


def test_a_target_makes_blocks_static(tmp_path: Path, run: Run) -> None:
    photos = folder_of_classes(tmp_path / "photos", 4)
    net = onnx2mvit.convert(save(colour_network(), tmp_path, "net.onnx"), tmp_path, verify=False)
    options = ("--precision", "int8", "--calibration", photos, "-o", tmp_path / "made")
    ran = run("deploy", net.folder, *options, "--agreement", 1)
    assert ran.code == 0
    said = " ".join(ran.out.split())
    assert "static 1 of 2 blocks: conv_bn_act_0" in said
    assert "float32 1 of 2 blocks: classifier_0" in said  # eight classes are faster so
    assert "by every second of 32 images from photos: of those that decide, 8 of 8 agree" in said
    assert "that 16 others keep 100% with a chance of 90%; it is 100.0%" in said
    assert "static int8" in said
    assert "static" not in run("deploy", net.folder, *options).out
