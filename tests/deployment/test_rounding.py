"""Kernels rounded together, so that what they give of images changes least."""

from typing import Any

import numpy as np
import pytest

from onnx2mvit.deployment import describe_model
from onnx2mvit.deployment.candidates import FEW
from onnx2mvit.deployment.choice import Wanted
from onnx2mvit.deployment.int8 import quantizable, quantize, quantized_file
from onnx2mvit.deployment.interface import Interface
from onnx2mvit.deployment.litert import litert_model
from onnx2mvit.deployment.rounding import rounded, rounded_kernels, with_kernels
from onnx2mvit.deployment.static_int8 import activation_ranges, static_operators
from onnx2mvit.runtimes import LiteRTRunner

for package in ("ai_edge_litert", "ai_edge_quantizer"):
    pytest.importorskip(package)

pytestmark = pytest.mark.xdist_group("deploy")
Net = tuple[bytes, Interface, np.ndarray[Any, Any]]


@pytest.fixture(scope="module")
def net() -> Net:
    """Convolutions of each kind and padding, and two linear layers that share their weights."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(16, 5, 2, padding="same", activation="relu", name="stem")(image)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu", name="depthwise")(x)
    x = layers.Conv2D(16, 2, groups=4, activation="relu", name="grouped")(x)
    x = layers.Conv2D(12, 3, dilation_rate=2, activation="relu", name="wide")(x)
    shared = layers.Dense(12, name="shared")
    x = keras.ops.relu(shared(keras.ops.relu(shared(layers.Flatten()(x)[:, :12]))))
    model = keras.Model(image, layers.Dense(5, use_bias=False, name="head")(x))
    rng = np.random.default_rng(0)
    grey = rng.random((24, 4, 4, 1)).repeat(4, 1).repeat(4, 2) + 0.5  # smooth, and with a mean
    pixels = (grey + 0.1 * rng.random((24, 16, 16, 3))).astype(np.float32)
    interface = describe_model(model, 1, None)
    return litert_model(model, interface), interface, pixels


def test_errors_of_numbers_that_vary_together_make_up_for_one_another() -> None:
    rng = np.random.default_rng(0)
    windows = rng.normal(size=(2, 500, 1)) + 0.1 * rng.normal(size=(2, 500, 9))
    rows = rng.normal(size=(2, 8, 9))
    step = np.abs(rows).max(-1, keepdims=True) / 127
    found, alone = rounded(rows, windows), np.round(rows / step) * step
    np.testing.assert_allclose(found / step, np.round(found / step), atol=1e-9)
    np.testing.assert_allclose(np.abs(found).max(-1), np.abs(rows).max(-1))

    def lost(each: np.ndarray[Any, Any]) -> float:
        return float(np.square((each - rows) @ windows.transpose(0, 2, 1)).mean())

    assert lost(found) < lost(alone) / 4
    assert not rounded(np.zeros((1, 2, 3)), np.zeros((1, 4, 3))).any()


@pytest.mark.parametrize(("form", "less"), [("dynamic", 1.5), ("static", 1.2)])
def test_a_file_of_rounded_kernels_is_nearer_to_float32(net: Net, form: str, less: float) -> None:
    content, interface, pixels = net
    some = {"image": pixels[:16]}
    static = static_operators(content) if form == "static" else []
    scopes = {each.scope for each in static}
    dynamic = [each for each in quantizable(content) if each.scope not in scopes]
    scopes |= {each.scope for each in dynamic}
    kernels = rounded_kernels(content, interface, some)
    ranges = activation_ranges(content, interface, some)

    def noise(file: bytes) -> float:
        made = LiteRTRunner(quantized_file(file, dynamic, static, ranges))
        ours, theirs = (
            interface.run(interface.in_order(each), {"image": pixels[16:]})
            for each in (made, LiteRTRunner(content))
        )
        (a,), (b,) = ours.values(), theirs.values()
        return float(np.square(a - b).mean())

    assert noise(with_kernels(content, kernels, scopes)) < noise(content) / less


def test_operators_that_are_not_named_keep_their_kernels(net: Net) -> None:
    content, interface, pixels = net
    kernels = rounded_kernels(content, interface, {"image": pixels[:4]})
    assert len(kernels) == 7 and sum(each.bias is None for each in kernels.values()) == 3
    same = LiteRTRunner(with_kernels(content, kernels, ()))(pixels[:1])
    for name, answer in LiteRTRunner(content)(pixels[:1]).items():
        np.testing.assert_array_equal(same[name], answer)
    dense = [each.scope for each in quantizable(content) if each.kind == "FULLY_CONNECTED"]
    alone, both = (with_kernels(content, kernels, scopes) for scopes in (dense[:1], dense[:2]))
    assert len(both) - len(content) < 4 * 3 * 12 * 12  # no weights that nobody reads
    for name, answer in LiteRTRunner(alone)(pixels[:1]).items():
        assert not np.array_equal(answer, LiteRTRunner(both)(pixels[:1])[name])


@pytest.mark.parametrize("together", [True, False])
def test_without_a_target_weights_are_rounded_by_images_that_do_not_tell_losses(
    net: Net, together: bool
) -> None:
    content, interface, pixels = net
    wanted = Wanted(float32=[], rounded=together)
    made, _ = quantize(content, [], interface, pixels, lambda *_: None, wanted)
    if together:
        kernels = rounded_kernels(content, interface, {"image": pixels[FEW:]})
        scopes = [each.scope for each in quantizable(content)]
        content = with_kernels(content, kernels, scopes)
    right = LiteRTRunner(quantized_file(content, quantizable(content)))(pixels[:1])
    for name, answer in LiteRTRunner(made)(pixels[:1]).items():
        np.testing.assert_array_equal(answer, right[name])
