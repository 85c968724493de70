"""Heads for segmentation and what they are made of, and where they do not hold by one detail."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.patterns.test_mobileone import OTHER
from tests.support.texts import Text, conv, kinds, only

STYLE = {"batch_norm": False, "use_bias": True, "padding": None}
IMAGE = "float[2,8,8,12]"
SIZES = {
    "axes": np.array([2, 3]), "size": np.array([2, 8, 8, 12]), "narrow": np.array([2, 4, 8, 12]),
}  # fmt: skip


def windows_of(length: int, size: int) -> Any:
    """The means that PyTorch takes of an axis, as a matrix."""
    weights = np.zeros((size, length), np.float32)
    for index in range(size):
        window = slice(index * length // size, -(-(index + 1) * length // size))
        weights[index, window] = 1 / len(range(length)[window])
    return weights


def layer(x: str, y: str, kernel: int = 1, rate: int = 1, **how: Any) -> Text:
    """A convolution of 8 filters and ReLU."""
    around = kernel // 2 * rate
    attrs = f"dilations=[{rate},{rate}], pads=[{','.join(4 * [str(around)])}]"
    how = {"filters": 8, "channels": 8} | how
    return conv(x, f"{y}_c", kernel=kernel, attrs=attrs, **how) + Text(f"{y} = Relu({y}_c)\n")


def resize(x: str, y: str, how: str = 'mode="linear"', size: str = "size") -> Text:
    return Text(f"{y} = Resize<{how}>({x}, , , {size})\n")


def image(p: str = "") -> Text:
    """The mean of all pixels, at each of them."""
    pooled = Text(f"{p}m = ReduceMean<keepdims=1>(x, axes)\n")
    return pooled + layer(f"{p}m", f"{p}i") + resize(f"{p}i", f"{p}r")


def joined(*parts: str, y: str = "y") -> Text:
    text = Text(f"j = Concat<axis=1>({', '.join(parts)})\n")
    return text + layer("j", y, channels=8 * len(parts))


ATROUS = layer("x", "a") + layer("x", "b", 3, 2)
ASPP = (ATROUS + image() + joined("a", "b", "r")).having(**SIZES)
SEPARABLE = (
    layer("x", "a") + layer("x", "d", 3, 2, group=8) + layer("d", "b")
    + image() + joined("a", "b", "r")
).having(**SIZES)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "params"),
    [
        (ASPP, {"rates": (1, 2, "image")}),
        ((image() + ATROUS + joined("r", "a", "b")).having(**SIZES), {"rates": ("image", 1, 2)}),
        (SEPARABLE,
         {"rates": (1, 2, "image"), "separable": True, "depthwise_activation": "relu"}),
    ],
)  # fmt: skip
def test_atrous_spatial_pyramid_pooling(tmp_path: Path, text: Text, params: dict[str, Any]) -> None:
    block = only(text.lifted(tmp_path, image=IMAGE), "ASPP")
    assert block.params == {"filters": 8, "activation": "relu"} | STYLE | params


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (OTHER + ATROUS.but("(x, a_c_w", "(other, a_c_w") + image() + joined("a", "b", "r"),
         "its branches have different inputs"),
        (layer("x", "a") + layer("x", "b", 3, 1) + image() + joined("a", "b", "r"),
         "a branch is 3×3 with rate 1"),
        (layer("x", "a") + layer("x", "b", 5, 2) + image() + joined("a", "b", "r"),
         "a branch is 5×5 with rate 2"),
        (ATROUS + joined("a", "b"), "0 branches see the whole image"),
        (ATROUS + image() + image("k") + joined("a", "b", "r", "kr"),
         "2 branches see the whole image"),
        (ATROUS + layer("x", "d", 3, 3, group=8) + layer("d", "c") + image()
         + joined("a", "b", "c", "r"), "its convolutions are of different kinds"),
        (ATROUS + image().but("Relu(i_c)", "Sigmoid(i_c)") + joined("a", "b", "r"),
         "branch has activation 'sigmoid', project has 'relu'"),
    ],
)  # fmt: skip
def test_no_such_pooling_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    text = text.having(**{name: SIZES[name] for name in SIZES if name in text.nodes})
    assert "ASPP" not in kinds(text.lifted(tmp_path, image=IMAGE))
    assert text.reason(tmp_path, "ASPP", image=IMAGE) == reason


LEVELS = {
    "m": Text("m = ReduceMean<keepdims=1>(x, axes)\n"),
    "n": Text("n = AveragePool<kernel_shape=[4,6], strides=[4,6]>(x)\n"),
    "o": Text("o_1 = MatMul(x, columns)  o = MatMul(rows, o_1)\n"),
}
MATRICES = {
    "rows": windows_of(8, 3).astype(np.float32),
    "columns": np.ascontiguousarray(windows_of(12, 3).T).astype(np.float32),
}


def level(pooled: str, how: str = 'mode="linear"') -> Text:
    named = f"{pooled}_l"
    return (
        LEVELS[pooled]
        + layer(pooled, named, filters=4)
        + resize(named, f"{pooled}_r", how, "narrow")
    )


def pyramid(*parts: str) -> Text:
    joined = Text(f"j = Concat<axis=1>({', '.join(parts)})\n")
    return joined + layer("j", "y", 3, channels=8 + 4 * (len(parts) - 1))


def whole(text: Text) -> Text:
    known = SIZES | MATRICES
    return text.having(**{name: known[name] for name in known if name in text.nodes})


PYRAMID = level("m") + level("n") + level("o") + pyramid("x", "m_r", "n_r", "o_r")
CORNERS = 'mode="linear", coordinate_transformation_mode="align_corners"'


def test_pyramid_pooling(tmp_path: Path) -> None:
    block = only(whole(PYRAMID).lifted(tmp_path, image=IMAGE), "PyramidPooling")
    own = {"sizes": (1, 2, 3), "level_filters": 4, "kernel_size": 3, "filters": 8}
    assert block.params == own | {"activation": "relu"} | STYLE


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (level("m") + level("n", CORNERS) + pyramid("x", "m_r", "n_r"),
         "its levels are interpolated in two ways"),
        (level("m") + level("n").but("strides=[4,6]", "strides=[2,3]") + pyramid("x", "m_r", "n_r"),
         "the windows of a level are not side by side"),
        (level("m") + level("n").but("[4,6], strides=[4,6]", "[4,4], strides=[4,4]")
         + pyramid("x", "m_r", "n_r"), "a level has 2×3 pixels"),
        (OTHER + level("m").but("ReduceMean<keepdims=1>(x", "ReduceMean<keepdims=1>(other")
         + level("n") + pyramid("x", "m_r", "n_r"), "its levels have different inputs"),
    ],
)  # fmt: skip
def test_no_such_pyramid_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    text = whole(text)
    assert "PyramidPooling" not in kinds(text.lifted(tmp_path, image=IMAGE))
    assert text.reason(tmp_path, "PyramidPooling", image=IMAGE) == reason


@pytest.mark.parametrize(
    ("name", "matrix", "reason"),
    [
        ("rows", np.roll(windows_of(8, 3), 1, 1), "it is not the mean of 3 windows of 8 pixels"),
        ("columns", windows_of(12, 4).T, "it makes 3×4 pixels"),
        ("columns", 2 * windows_of(12, 3).T, "it is not the mean of 3 windows of 12 pixels"),
    ],
)
def test_other_products_are_no_pooling(tmp_path: Path, name: str, matrix: Any, reason: str) -> None:
    text = LEVELS["o"] + Text("y = Tanh(o)\n")
    assert kinds(whole(text).lifted(tmp_path, image=IMAGE)) >= {"AdaptiveAveragePooling2D"}
    text = text.having(**MATRICES | {name: np.ascontiguousarray(matrix).astype(np.float32)})
    kind = "AdaptiveAveragePooling2D"
    assert kind not in kinds(text.lifted(tmp_path, image=IMAGE))
    assert text.reason(tmp_path, kind, image=IMAGE) == reason


@pytest.mark.parametrize("head", ["DeepLabV3Head", "PSPNetHead"])
@pytest.mark.parametrize(("bias", "holds"), [(True, True), (False, False)])
def test_a_head_ends_in_a_classifier_of_pixels(
    tmp_path: Path, head: str, bias: bool, holds: bool
) -> None:
    text = ASPP if head == "DeepLabV3Head" else whole(PYRAMID)
    text += conv("y", "z", 5, 8, 1, bias=bias)
    network = text.lifted(tmp_path, image=IMAGE, outputs="z")
    assert (head in kinds(network)) == holds
    if holds:
        assert only(network, head).params["num_classes"] == 5


def test_the_head_of_torchvision_has_one_convolution_more(tmp_path: Path) -> None:
    text = ASPP + layer("y", "w", 3) + conv("w", "z", 5, 8, 1)
    block = only(text.lifted(tmp_path, image=IMAGE, outputs="z"), "DeepLabV3Head")
    assert block.params["conv"] and block.params["num_classes"] == 5


@pytest.mark.parametrize(
    ("nodes", "params"),
    [
        ('y = Resize<mode="linear">(x, , scales)', {"factor": 2}),
        (f"y = Resize<{CORNERS}>(x, , scales)", {"factor": 2, "align_corners": True}),
    ],
)
def test_upsampling_by_a_factor(tmp_path: Path, nodes: str, params: dict[str, Any]) -> None:
    text = Text(nodes, {"scales": np.array([1, 1, 2, 2], np.float32)})
    assert only(text.lifted(tmp_path, image=IMAGE), "BilinearUpsampling").params == params


@pytest.mark.parametrize(
    ("nodes", "scales", "reason"),
    [
        ('y = Resize<mode="linear">(x, , scales)', [1, 1, 2, 3],
         "an image of (8, 12) becomes one of (16, 36): no whole factor for both"),
        ('y = Resize<mode="linear">(x, , scales)', [1, 1, 0.5, 0.5],
         "an image of (8, 12) becomes one of (4, 6): it is not larger"),
        ('y = Resize<mode="nearest">(x, , scales)', [1, 1, 2, 2],
         "resize (Resize): mode is 'nearest'"),
    ],
)  # fmt: skip
def test_no_such_upsampling(tmp_path: Path, nodes: str, scales: list[float], reason: str) -> None:
    text = Text(nodes, {"scales": np.array(scales, np.float32)})
    kind = "BilinearUpsampling"
    assert kind not in kinds(text.lifted(tmp_path, image=IMAGE))
    assert text.reason(tmp_path, kind, image=IMAGE) == reason


@pytest.mark.parametrize(
    ("height", "reason"),
    [(8, None), (9, "it makes (9, 12) pixels, the input has (8, 12)")],
)
def test_resizing_to_the_input(tmp_path: Path, height: int, reason: str | None) -> None:
    pooled = "p = AveragePool<kernel_shape=[2,2], strides=[2,2]>(x)"
    text = Text(f"{pooled}\n") + resize("p", "y")
    text = text.having(size=np.array([2, 8, height, 12]))
    found = kinds(text.lifted(tmp_path, image=IMAGE))
    assert ("ResizeToInput" in found) == (reason is None)
    if reason is not None:
        assert text.reason(tmp_path, "ResizeToInput", image=IMAGE) == reason
