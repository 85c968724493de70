"""ResNet's and RegNet's blocks, and where they do not hold by one detail."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import onnx2mvit
from tests.support.graphs import model, save
from tests.support.texts import Text, conv, every, kinds

STRIDED = "strides=[2,2]"
DILATED = "dilations=[2,2], pads=[2,2,2,2]"
USUAL = {
    "filters": 8, "strides": 1, "dilation": 1, "activation": "relu", "branch_activation": None,
    "output_activation": "relu", "padding": None, "batch_norm": False, "use_bias": True,
}  # fmt: skip
NARROW = USUAL | {"width_ratio": 0.5, "groups": 1}
GATE = {"squeeze_activation": "relu", "squeeze_gate": "sigmoid", "squeeze_bias": True}


def relu(x: str, y: str) -> Text:
    return Text(f"{y} = Relu({x})\n")


def mean(x: str = "x", p: str = "", size: int = 2) -> Text:
    attrs = f"kernel_shape=[{size},{size}], strides=[2,2], ceil_mode={int(size == 2)}"
    return Text(f"{p}mean = AveragePool<{attrs}>({x})\n")


def squeezed(x: str, y: str, channels: int = 8) -> Text:
    """Squeeze and excitation by way of two channels."""
    return (
        Text(f"{y}_p = GlobalAveragePool({x})\n")
        + conv(f"{y}_p", f"{y}_r", 2, channels, 1)
        + relu(f"{y}_r", f"{y}_a")
        + conv(f"{y}_a", f"{y}_e", channels, 2, 1)
        + Text(f"{y}_g = Sigmoid({y}_e)  {y} = Mul({x}, {y}_g)\n")
    )


def two(x: str = "x", p: str = "", filters: int = 8, channels: int = 8, attrs: str = "") -> Text:
    """The branch of a basic block, from `x` to `c2`; `p` begins the names in it."""
    first = conv(x, f"{p}c1", filters, channels, attrs=attrs) + relu(f"{p}c1", f"{p}a1")
    return first + conv(f"{p}a1", f"{p}c2", filters, filters)


def three(
    x: str = "x", p: str = "", filters: int = 8, channels: int = 8, width: int = 4,
    group: int = 1, attrs: str = "", first: str = "", squeeze: bool = False,
) -> Text:  # fmt: skip
    """The branch of a bottleneck, from `x` to `c3`."""
    text = conv(x, f"{p}c1", width, channels, 1, attrs=first) + relu(f"{p}c1", f"{p}a1")
    text += conv(f"{p}a1", f"{p}c2", width, width, group=group, attrs=attrs)
    text += relu(f"{p}c2", f"{p}a2")
    if squeeze:
        text += squeezed(f"{p}a2", f"{p}se", width)
    return text + conv(f"{p}se" if squeeze else f"{p}a2", f"{p}c3", filters, width, 1)


def shortcut(
    x: str = "x", p: str = "", filters: int = 8, channels: int = 8, attrs: str = STRIDED
) -> Text:
    return conv(x, f"{p}s", filters, channels, 1, attrs=attrs)


def added(one: str, other: str = "x", y: str = "y") -> Text:
    return Text(f"{y}_sum = Add({one}, {other})\n") + relu(f"{y}_sum", y)


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        (two() + added("c2"), {}),
        (two() + added("x", "c2"), {}),
        (two(attrs=DILATED).but("c2 = Conv<pads=[1,1,1,1],", f"c2 = Conv<{DILATED},")
         + added("c2"), {"dilation": 2}),
        (two(attrs=STRIDED) + shortcut() + added("c2", "s"),
         {"strides": 2, "shortcut_pool": False}),
        (two(attrs=STRIDED) + mean() + shortcut("mean", attrs="") + added("s", "c2"),
         {"strides": 2, "shortcut_pool": True}),
        (two(filters=12) + shortcut(filters=12, attrs="") + added("c2", "s"), {"filters": 12}),
        (two() + Text("y = Add(c2, x)"), {"output_activation": None}),
        (two() + relu("c2", "a2") + added("a2"), {"branch_activation": "relu"}),
        (two() + squeezed("c2", "se") + added("se"), GATE | {"squeeze": 2}),
    ],
)  # fmt: skip
def test_a_basic_block(tmp_path: Path, text: Text, changed: dict[str, Any]) -> None:
    network = text.lifted(tmp_path)
    (block,) = network.blocks
    assert (block.kind, block.params) == ("BasicBlock", USUAL | changed)
    assert not network.unrecognised


@pytest.mark.parametrize(("size", "holds"), [("2,2", True), ("2,1", True), ("3,3", False)])
def test_the_mean_of_the_last_pixels_is_one_of_2x2(tmp_path: Path, size: str, holds: bool) -> None:
    text = two(attrs=STRIDED) + Text("mean = GlobalAveragePool(x)\n") + shortcut("mean", attrs="")
    network = (text + added("c2", "s")).lifted(tmp_path, image=f"float[2,8,{size}]")
    blocks = [block.params for block in network.blocks if block.kind == "BasicBlock"]
    assert blocks == ([USUAL | {"strides": 2, "shortcut_pool": True}] if holds else [])


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        (three() + added("c3"), {}),
        (three(width=8) + added("c3"), {"width_ratio": 1}),
        (three(width=20) + added("x", "c3"), {"width_ratio": 2.5}),
        (three(group=2) + added("c3"), {"groups": 2}),
        (three(attrs=DILATED) + added("c3"), {"dilation": 2}),
        (three(attrs=STRIDED) + shortcut() + added("c3", "s"),
         {"strides": 2, "strides_first": False, "shortcut_pool": False}),
        (three(first=STRIDED) + shortcut() + added("s", "c3"),
         {"strides": 2, "strides_first": True, "shortcut_pool": False}),
        (three(attrs=STRIDED) + mean() + shortcut("mean", attrs="") + added("c3", "s"),
         {"strides": 2, "strides_first": False, "shortcut_pool": True}),
        (three(filters=16) + shortcut(filters=16, attrs="") + added("c3", "s"),
         {"filters": 16, "width_ratio": 0.25}),
        (three() + Text("y = Add(x, c3)"), {"output_activation": None}),
        (three() + relu("c3", "a3") + added("a3"), {"branch_activation": "relu"}),
        (three() + squeezed("c3", "se") + added("se"), GATE | {"squeeze_last": 2}),
        (three(squeeze=True) + added("c3"), GATE | {"squeeze": 2}),
    ],
)  # fmt: skip
def test_a_bottleneck(tmp_path: Path, text: Text, changed: dict[str, Any]) -> None:
    network = text.lifted(tmp_path)
    (block,) = network.blocks
    assert (block.kind, block.params) == ("Bottleneck", NARROW | changed)
    assert not network.unrecognised


@pytest.mark.parametrize(
    ("kind", "text", "image", "reason"),
    [
        ("BasicBlock", two() + Text("z = Sin(x)\n") + added("c2", "z"),
         None, "shortcut (ConvBnAct) expected, found <Sin>"),
        ("BasicBlock", conv("x", "c1", 8, 8, 5) + relu("c1", "a1") + conv("a1", "c2", 8, 8)
         + added("c2"), None, "conv1 (ConvBnAct): kernel_size is 5, not 3"),
        ("BasicBlock", two().but("c1 = Conv<pads=[1,1,1,1], group=1 ", "c1 = Conv<pads=[1,1,1,1], "
         "group=2", c1_w=(8, 4, 3, 3)) + added("c2"),
         None, "conv1 (ConvBnAct): groups is 2, not 1"),
        ("BasicBlock", two() + shortcut(attrs="") + added("c2", "s"),
         None, "its input is projected where it need not be"),
        ("BasicBlock", two(filters=12) + shortcut(filters=12, attrs="") + relu("s", "sa")
         + added("c2", "sa"), None, "shortcut (ConvBnAct): activation is 'relu', not None"),
        ("BasicBlock", two(channels=1) + added("c2"),
         "float[2,1,8,8]", "its shape changes without a projection"),
        ("BasicBlock", two(filters=12) + shortcut(filters=1, attrs="") + added("c2", "s"),
         None, "shortcut has filters 1, conv2 has 12"),
        ("BasicBlock", two(attrs=STRIDED) + shortcut(attrs="") + added("c2", "s"),
         "float[2,8,2,2]", "its shortcut has strides 1, not 2"),
        ("BasicBlock", two(attrs=STRIDED) + mean(size=1) + shortcut("mean", attrs="")
         + added("c2", "s"), None, "its shortcut is the mean of 1×1 pixels"),
        ("BasicBlock", two(attrs=STRIDED) + mean() + shortcut("mean") + added("c2", "s"),
         "float[2,8,4,4]", "its shortcut has strides twice"),
        ("BasicBlock", two().but("(a1, c2_w, c2_b)", "(a1, c2_w)") + added("c2"),
         None, "conv1 has use_bias True, conv2 has False"),
        ("BasicBlock", two().but("c1 = Conv<pads=[1,1,1,1],", "c1 = Conv<pads=[0,0,0,0],")
         .but("c2 = Conv<pads=[1,1,1,1],", "c2 = Conv<pads=[0,0,0,0],") + added("c2"),
         "float[2,8,5,5]", "it adds unequal shapes"),
        ("BasicBlock", two(attrs=STRIDED) + Text("mean = GlobalAveragePool(x)\n")
         + shortcut("mean", attrs="") + added("c2", "s"), "float[2,8,2,3]",
         "it adds unequal shapes"),
        ("Bottleneck", three(group=4) + added("c3"),
         None, "conv (ConvBnAct): depthwise is True, not False"),
        ("Bottleneck", three(width=8).but("a1 = Relu(c1)", "a1 = Tanh(c1)") + added("c3"),
         None, "reduce has activation 'tanh', conv has 'relu'"),
        ("Bottleneck", three(width=8).having(c1_w=(4, 8, 1, 1), c1_b=(4,), c2_w=(8, 4, 3, 3))
         + added("c3"), None, "reduce has filters 4, conv has 8"),
        ("Bottleneck", three(attrs=STRIDED, first=STRIDED) + shortcut(attrs="strides=[4,4]")
         + added("c3", "s"), None, "it has strides twice"),
        ("Bottleneck", three(width=8).but("a2 = Relu(c2)", "a2 = Identity(c2)") + added("c3"),
         None, "reduce has activation 'relu', conv has None"),
        ("BasicBlock", two().but("c2 = Conv<", f"c2 = Conv<{STRIDED}, ") + shortcut()
         + added("c2", "s"), None, "conv2 (ConvBnAct): strides is 2, not 1"),
        ("BasicBlock", two(filters=12) + conv("x", "s", 12, 8, 3) + added("c2", "s"),
         None, "shortcut (ConvBnAct): kernel_size is 3, not 1"),
        ("BasicBlock", two(filters=12) + conv("x", "s", 12, 8, 1, group=2) + added("c2", "s"),
         None, "shortcut (ConvBnAct): groups is 2, not 1"),
        ("Bottleneck", three().but("c1 = Conv<pads=[0,0,0,0], group=1", "c1 = Conv<pads=[0,0,0,0], "
         "group=2", c1_w=(4, 4, 1, 1)) + added("c3"),
         None, "reduce (ConvBnAct): groups is 2, not 1"),
        ("Bottleneck", three(width=8).but("c3 = Conv<pads=[0,0,0,0], group=1", "c3 = "
         "Conv<pads=[0,0,0,0], group=2", c3_w=(8, 4, 1, 1)) + added("c3"),
         None, "expand (ConvBnAct): groups is 2, not 1"),
        ("Bottleneck", three(attrs="pads=[2,2,2,2]").having(c2_w=(4, 4, 5, 5)) + added("c3"),
         None, "conv (ConvBnAct): kernel_size is 5, not 3"),
        ("Bottleneck", three().but("c3 = Conv<", f"c3 = Conv<{STRIDED}, ") + shortcut()
         + added("c3", "s"), None, "expand (ConvBnAct): strides is 2, not 1"),
        ("Bottleneck", three(first="pads=[1,1,1,1]").having(c1_w=(4, 8, 3, 3)) + added("c3"),
         None, "reduce (ConvBnAct): kernel_size is 3, not 1"),
        ("Bottleneck", two() + added("c2"), None, "expand (ConvBnAct): kernel_size is 3, not 1"),
    ],
)  # fmt: skip
def test_no_such_block_by_one_detail(
    tmp_path: Path, kind: str, text: Text, image: str | None, reason: str
) -> None:
    how = {"image": image} if image is not None else {}
    assert kind not in kinds(text.lifted(tmp_path, **how))
    assert text.reason(tmp_path, kind, **how) == reason


def test_what_is_an_output_is_not_inside(tmp_path: Path) -> None:
    text = three() + added("c3")
    assert kinds(text.lifted(tmp_path, outputs="y a2")) == {"ConvBnAct", "Conv2D", "Activation"}
    reason = text.reason(tmp_path, "Bottleneck", outputs="y a2")
    assert reason == "its inner value 'a2' is an output of the graph"
    block = every(text.lifted(tmp_path, outputs="y y_sum"), "Bottleneck")[0]
    assert block.output_activation is None


def everything() -> Text:
    """One network with every form of both blocks, from `x` of three channels to `y` of 16."""
    branches = [
        two("t0", "a_"),
        two("t1", "b_", attrs=STRIDED) + mean("t1", "b_") + shortcut("b_mean", "b_", attrs=""),
        two("t2", "c_") + squeezed("c_c2", "c_se"),
        three("t3", "d_", group=2) + squeezed("d_c3", "d_se") + relu("d_se", "d_r"),
        three("t4", "e_", 16, attrs=STRIDED, squeeze=True)
        + mean("t4", "e_")
        + shortcut("e_mean", "e_", 16, attrs=""),
        three("t5", "f_", 16, 16, first=STRIDED) + shortcut("t5", "f_", 16, 16),
        three("t6", "g_", 16, 16, attrs=DILATED),
    ]
    ends = [("a_c2", "t0"), ("b_s", "b_c2"), ("c_se", "t2"), ("d_se", "t3"), ("e_c3", "e_s"),
            ("f_s", "f_c3"), ("g_c3", "t6")]  # fmt: skip
    text = conv("x", "stem", 8, 3, attrs=STRIDED) + relu("stem", "t0")
    for index, (branch, (one, other)) in enumerate(zip(branches, ends, strict=True), start=1):
        text += branch + added(one, other, f"t{index}")
    return text + conv("t7", "y", 16, 16, 1)


def test_every_form_answers_as_onnxruntime_at_any_size(tmp_path: Path) -> None:
    text = everything()
    weights = {
        name: np.random.default_rng(len(name)).normal(size=shape)
        / max(np.prod(shape[1:]), 4) ** 0.5
        for name, shape in text.weights.items()
    }
    made = model(f"g (float[2,3,37,42] x) => (float y) {{ {text.nodes} }}", **weights)
    result = onnx2mvit.convert(save(made, tmp_path), tmp_path, image_size="any")
    assert result.passed
    assert [block.kind for block in result.blocks][1:-1] == ["BasicBlock"] * 3 + ["Bottleneck"] * 4
    for axis in made.graph.input[0].type.tensor_type.shape.dim[2:]:
        axis.ClearField("dim_value")
    session = onnxruntime.InferenceSession(save(made, tmp_path, "dynamic.onnx"))
    for size in ((64, 96), (33, 63)):
        images = np.random.default_rng(0).normal(size=(2, 3, *size)).astype(np.float32)
        (expected,) = session.run(None, {"x": images})
        found = np.asarray(result.model(images.transpose(0, 2, 3, 1))).transpose(0, 3, 1, 2)
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
