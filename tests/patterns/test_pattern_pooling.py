"""Pooling over windows: what Keras can do as PyTorch does, and what it cannot."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import onnx2mvit
from tests.support.graphs import model, save
from tests.support.texts import Text, kinds, only

WINDOW = "kernel_shape=[3,3], strides=[2,2]"


def max_pool(attrs: str) -> Text:
    return Text(f"y = MaxPool<{attrs}>(x)")


def mean_pool(attrs: str) -> Text:
    return Text(f"y = AveragePool<{attrs}>(x)")


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [
        (f"{WINDOW}, pads=[1,1,1,1]", (3, 2, 1, False)),
        (f"{WINDOW}, pads=[0,0,0,0], ceil_mode=1", (3, 2, 0, True)),
        ("kernel_shape=[2,2]", (2, 1, 0, False)),
        ('kernel_shape=[2,2], strides=[2,2], auto_pad="VALID"', (2, 2, 0, False)),
        ("kernel_shape=[5,5], pads=[2,2,2,2], dilations=[1,1]", (5, 1, 2, False)),
    ],
)
def test_max_pooling(tmp_path: Path, attrs: str, expected: tuple[int, int, int, bool]) -> None:
    network = max_pool(attrs).lifted(tmp_path)
    assert tuple(only(network, "MaxPooling2D").params.values()) == expected
    assert not network.unrecognised


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (max_pool("kernel_shape=[3,2]"), "the window is (3, 2), not square"),
        (max_pool("kernel_shape=[3,3], strides=[1,2]"), "the strides (1, 2) differ"),
        (max_pool("kernel_shape=[2,2], dilations=[2,2]"), "the window is dilated"),
        (max_pool(f"{WINDOW}, pads=[0,0,1,1]"), "the padding (0, 0, 1, 1) differs"),
        (max_pool(f'{WINDOW}, auto_pad="SAME_UPPER"'), "the padding depends on the size"),
        (
            max_pool("kernel_shape=[2,2], strides=[2,2], ceil_mode=1, pads=[1,1,1,1]"),
            "a window may begin behind the image",
        ),
        (max_pool("kernel_shape=[1,1], strides=[2,2], ceil_mode=1"), "a window may begin"),
    ],
)
def test_no_max_pooling_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    assert not kinds(text.lifted(tmp_path))
    assert text.reason(tmp_path, "MaxPooling2D").startswith(reason)


def test_where_the_largest_pixels_are_is_not_told(tmp_path: Path) -> None:
    text = Text("y, places = MaxPool<kernel_shape=[2,2]>(x)  z = Cast<to=1>(places)")
    assert not kinds(text.lifted(tmp_path, outputs="y z"))


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [
        ("kernel_shape=[2,2], strides=[2,2]", (2, 2, "valid")),
        ("kernel_shape=[2,2], strides=[2,2], count_include_pad=1", (2, 2, "valid")),
        ("kernel_shape=[2,2], strides=[2,2], ceil_mode=1", (2, 2, "same")),
        (WINDOW, (3, 2, "valid")),
    ],
)
def test_average_pooling(tmp_path: Path, attrs: str, expected: tuple[int, int, str]) -> None:
    network = mean_pool(attrs).lifted(tmp_path)
    assert tuple(only(network, "AveragePooling2D").params.values()) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (mean_pool(f"{WINDOW}, pads=[1,1,1,1]"), "the padding is 1"),
        (mean_pool(f"{WINDOW}, ceil_mode=1"), "its last window is not Keras's"),
        (
            mean_pool("kernel_shape=[2,2], strides=[2,2], ceil_mode=1, count_include_pad=1"),
            "what is behind the image counts as zeros",
        ),
    ],
)
def test_no_average_pooling_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    assert not kinds(text.lifted(tmp_path))
    assert text.reason(tmp_path, "AveragePooling2D") == reason


# All of the convolution's numbers are below zero: padding with zeros would be the largest.
POOLS = """g (float[N,3,H,W] x) => (float[N,3,h,w] y) {{
    c = Conv<pads=[1,1,1,1]>(x, k, b)
    p = {}(c)
    y = Conv(p, one) }}"""


@pytest.mark.parametrize(
    "pool",
    [
        f"MaxPool<{WINDOW}, pads=[1,1,1,1]>",
        f"MaxPool<{WINDOW}, ceil_mode=1>",
        f"MaxPool<{WINDOW}, pads=[1,1,1,1], ceil_mode=1>",
        "MaxPool<kernel_shape=[2,2], strides=[2,2], ceil_mode=1>",
        "MaxPool<kernel_shape=[5,5], pads=[2,2,2,2]>",
        "AveragePool<kernel_shape=[2,2], strides=[2,2], ceil_mode=1>",
        f"AveragePool<{WINDOW}>",
    ],
)
def test_it_is_onnxruntimes_at_any_size(tmp_path: Path, pool: str) -> None:
    weights: dict[str, Any] = {"k": (3, 3, 3, 3), "b": np.full(3, -50.0), "one": (3, 3, 1, 1)}
    file = save(model(POOLS.format(pool), **weights), tmp_path)
    result = onnx2mvit.convert(file, tmp_path, verify=False, image_size="any")
    assert [block.kind for block in result.blocks][1].startswith(pool[:3])
    session = onnxruntime.InferenceSession(file)
    for height, width in ((32, 33), (35, 38), (37, 41)):
        images = np.random.default_rng(0).normal(size=(2, 3, height, width)).astype(np.float32)
        (expected,) = session.run(None, {"x": images})
        found = np.asarray(result.model(images.transpose(0, 2, 3, 1))).transpose(0, 3, 1, 2)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("node", "kind"),
    [
        ("y = ReduceMean<keepdims=0>(i, space)", "GlobalAveragePooling2D"),
        ("y = ReduceMean(i, space)", "GlobalMean"),
        ("r = Reshape(i, rows)  y = ReduceMean<keepdims=0>(r, one)", "TokenPooling"),
        ("u = Cast<to=2>(i)  y = MaxPool<kernel_shape=[2,2]>(u)", "MaxPooling2D"),
    ],
)
def test_integers_are_pooled_by_no_layer(tmp_path: Path, node: str, kind: str) -> None:
    numbers = {"space": [2, 3], "rows": [0, 8, -1], "one": [1]}
    text = Text(f"i = Cast<to=6>(x)  {node}", numbers)
    assert kind not in kinds(text.lifted(tmp_path))
    assert "not floats" in text.reason(tmp_path, kind)
