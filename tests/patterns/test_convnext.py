"""ConvNeXt's blocks, and where they do not hold by one detail."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.texts import Text, conv, every, kinds, only

TO_NHWC, TO_NCHW = "Transpose<perm=[0,2,3,1]>", "Transpose<perm=[0,3,1,2]>"


def norm(x: str, y: str, channels: int = 8) -> Text:
    return Text(
        f"{y} = LayerNormalization<axis=-1, epsilon=1e-6>({x}, {y}_g, {y}_b)\n",
        {f"{y}_g": (channels,), f"{y}_b": (channels,)},
    )


def norm2d(x: str, y: str) -> Text:
    """The same of an image (B, C, H, W)."""
    return (
        Text(f"{y}_0 = {TO_NHWC}({x})\n")
        + norm(f"{y}_0", f"{y}_1")
        + Text(f"{y} = {TO_NCHW}({y}_1)\n")
    )


def linear(x: str, y: str, units: int, channels: int) -> Text:
    weights = {f"{y}_w": (channels, units), f"{y}_b": (units,)}
    return Text(f"{y}_m = MatMul({x}, {y}_w)  {y} = Add({y}_m, {y}_b)\n", weights)


def grn(x: str, y: str, space: str, channels: int, shape: tuple[int, ...]) -> Text:
    """Global response normalization of 32 channels, as torch.addcmul is written."""
    return Text(
        f"""
        {y}_n = ReduceL2<keepdims=1>({x}, {y}_space)
        {y}_m = ReduceMean<keepdims=1>({y}_n, {y}_channels)
        {y}_a = Add({y}_m, {y}_eps)  {y}_d = Div({y}_n, {y}_a)  {y}_x = Mul({x}, {y}_d)
        {y}_s = Mul({y}_g, {y}_x)  {y}_t = Add({y}_b, {y}_s)  {y} = Add({x}, {y}_t)
        """,
        {
            f"{y}_space": [int(axis) for axis in space],
            f"{y}_channels": [channels],
            f"{y}_eps": 1e-6,
            f"{y}_g": shape,
            f"{y}_b": shape,
        },
    )


def as_linear(response: bool = False) -> Text:
    """A block on 8 channels with linear layers; `y` is its sum."""
    text = conv("x", "dw", 8, 8, 7, group=8) + Text(f"t = {TO_NHWC}(dw)\n")
    text += norm("t", "n") + linear("n", "fc1", 32, 8) + Text("a = Gelu(fc1)\n")
    text += grn("a", "r", "12", 3, (1, 1, 1, 32)) if response else Text("r = Identity(a)\n")
    return text + linear("r", "fc2", 8, 32) + Text(f"u = {TO_NCHW}(fc2)  y = Add(u, x)\n")


def as_convs(response: bool = False) -> Text:
    """The same with 1×1 convolutions."""
    text = conv("x", "dw", 8, 8, 7, group=8) + norm2d("dw", "n")
    text += conv("n", "fc1", 32, 8, 1) + Text("a = Gelu(fc1)\n")
    text += grn("a", "r", "23", 1, (1, 32, 1, 1)) if response else Text("r = Identity(a)\n")
    return text + conv("r", "fc2", 8, 32, 1) + Text("u = Identity(fc2)  y = Add(u, x)\n")


SCALED = {"scale": (1, 8, 1, 1)}
USUAL = {"kernel_size": 7, "dilation": 1, "mlp_ratio": 4, "activation": "gelu", "epsilon": 1e-6}


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (as_linear(), {}),
        (as_convs(), {"conv_mlp": True}),
        (as_linear(True), {"grn": True}),
        (as_convs(True), {"grn": True, "conv_mlp": True}),
        (as_linear(True).but("r_t = Add", "r_v = Mul(r_s, one)  r_t = Add", one=[1.0])
         .but("(r_b, r_s)", "(r_b, r_v)"), {"grn": True}),
        (as_linear().but("y = Add(u, x)", "v = Mul(scale, u)  y = Add(x, v)", **SCALED),
         {"layer_scale": True}),
        (as_linear().but(f"u = {TO_NCHW}(fc2)", f"v = Mul(fc2, scale)  u = {TO_NCHW}(v)",
                         scale=(8,)), {"layer_scale": True}),
        (as_convs().but("y = Add(u, x)", "v = Mul(u, scale)  y = Add(v, x)", **SCALED),
         {"conv_mlp": True, "layer_scale": True}),
    ],
)  # fmt: skip
def test_a_block_in_each_form(tmp_path: Path, text: Text, form: dict[str, Any]) -> None:
    network = text.lifted(tmp_path)
    (block,) = network.blocks
    assert block.kind == "ConvNeXtBlock" and not network.unrecognised
    expected = {"conv_mlp": False, "grn": False, "layer_scale": False} | USUAL | form
    assert {name: block.params[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (as_linear().but("y = Add(u, x)", "y = Identity(u)"), ""),
        (as_linear().but("y = Add(u, x)", "o = Sin(x)  y = Add(u, o)"),
         "x is another value than before"),
        (as_linear().but("a = Gelu(fc1)", "a = Identity(fc1)"),
         "grn (GlobalResponseNorm) expected, found <Dense>"),
        (as_convs().but("a = Gelu(fc1)", "a = Identity(fc1)"),
         "grn (GlobalResponseNorm2d) expected, found <ConvBnAct>"),
        (as_linear().but("fc2_m = MatMul(r, fc2_w)", "q = Relu(r)  fc2_m = MatMul(q, fc2_w)"), ""),
        (as_linear().but("y = Add(u, x)", "v = Mul(scale, u)  y = Add(x, v)", scale=(8,)), ""),
        (conv("x", "dw", 8, 8, 3) + Text(as_linear().nodes.partition("\n")[2], as_linear().weights)
         .having(dw_w=(8, 8, 3, 3)), "conv (ConvBnAct): depthwise is False, not True"),
    ],
    ids=["no residual", "another residual", "no activation", "no activation, convolutions",
         "two activations", "scaled along the width", "a convolution of all channels"],
)  # fmt: skip
def test_no_block_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    assert "ConvNeXtBlock" not in kinds(text.lifted(tmp_path))
    assert not reason or text.reason(tmp_path, "ConvNeXtBlock") == reason


@pytest.mark.parametrize("inner", ["n", "a", "u"])
def test_what_is_needed_elsewhere_is_not_inside(tmp_path: Path, inner: str) -> None:
    assert "ConvNeXtBlock" not in kinds(as_linear().lifted(tmp_path, outputs=f"y {inner}"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"r_space": [2]}, ""),
        ({"r_channels": [1]}, ""),
        ({"r_g": (1, 8, 8, 32)}, "it has not one γ and one β per channel"),
        ({"r_b": (1, 8, 1, 1)}, "it has not one γ and one β per channel"),
        ({"r_eps": (1, 1, 1, 32)}, ""),
    ],
)
def test_no_response_normalization_by_one_detail(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    text = as_linear(True).having(**change)
    assert not {"GlobalResponseNorm", "GlobalResponseNorm2d"} & kinds(text.lifted(tmp_path))
    assert not reason or text.reason(tmp_path, "GlobalResponseNorm") == reason


PATCHES = "strides=[4,4], pads=[0,0,0,0]"
PIXELS = "strides=[2,2], pads=[0,0,0,0]"


def test_the_stem_and_what_is_between_stages(tmp_path: Path) -> None:
    stem = conv("x", "p", 8, 8, 4, PATCHES) + norm2d("p", "y")
    assert only(stem.lifted(tmp_path), "PatchifyStem").params["dim"] == 8
    smaller = norm2d("x", "n") + conv("n", "y", 16, 8, 2, PIXELS)
    assert only(smaller.lifted(tmp_path), "ConvNeXtDownsampling").params["filters"] == 16


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        (conv("x", "p", 8, 8, 1) + norm2d("p", "y"), "PatchifyStem", "its patches are pixels"),
        (norm2d("x", "n") + conv("n", "y", 16, 8, 1), "ConvNeXtDownsampling",
         "it keeps the size"),
    ],
)  # fmt: skip
def test_neither_where_the_size_stays(tmp_path: Path, text: Text, kind: str, reason: str) -> None:
    assert kinds(text.lifted(tmp_path)) == {"ConvBnAct", "Conv2D", "LayerNorm2d"}
    assert text.reason(tmp_path, kind) == reason


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        (norm2d("x", "y"), True),
        (norm2d("x", "y").but(f"y = {TO_NCHW}(y_1)", "y = Transpose<perm=[0,3,2,1]>(y_1)"), False),
        (norm2d("x", "y").but(f"y_0 = {TO_NHWC}(x)", "y_0 = Transpose<perm=[0,3,2,1]>(x)"), False),
        (norm2d("x", "y").but("axis=-1", "axis=2", y_1_g=(8, 8), y_1_b=(8, 8)), False),
        (norm2d("x", "y").but("axis=-1", "axis=3"), True),
    ],
    ids=[
        "",
        "moved elsewhere",
        "moved from elsewhere",
        "of columns as well",
        "axis from the front",
    ],
)
def test_normalization_of_pixels(tmp_path: Path, text: Text, holds: bool) -> None:
    assert ("LayerNorm2d" in kinds(text.lifted(tmp_path))) == holds


def test_the_head_normalizes_the_mean_however_it_is_written(tmp_path: Path) -> None:
    mean = Text("m = ReduceMean<keepdims=1>(x, space)\n", {"space": [2, 3]})
    flat = Text("f = Flatten(n)\n") + linear("f", "y", 5, 8)
    hidden = linear("f", "h", 16, 8) + Text("g = Gelu(h)\n") + linear("g", "y", 5, 16)
    as_vector = Text("q = Flatten(m)\n") + norm("q", "n")
    for text, units in (
        (mean + norm2d("m", "n") + flat, None),
        (mean + as_vector + flat, None),
        (mean + norm2d("m", "n") + Text("f = Flatten(n)\n") + hidden, 16),
    ):
        (block,) = text.lifted(tmp_path).blocks
        assert block.kind == "NormalizedClassifier"
        assert (block.params["num_classes"], block.params.get("hidden")) == (5, units)
    active = as_vector + Text("o = Relu(n)  f = Flatten(o)\n") + linear("f", "y", 5, 8)
    assert not every((mean + active).lifted(tmp_path), "NormalizedClassifier")
