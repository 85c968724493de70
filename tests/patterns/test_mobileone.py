"""MobileOne's block, and where it does not hold by one detail."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnx2mvit
from tests.support.graphs import model, save
from tests.support.texts import Text, conv, every, kinds

STRIDED = "strides=[2,2]"
USUAL = {
    "filters": 8, "kernel_size": 3, "strides": 1, "num_branches": 2, "dilation": 1,
    "depthwise": True, "groups": 1, "activation": "relu", "skip_as_conv": False, "padding": None,
    "batch_norm": False, "use_bias": True, "bn_epsilon": 1e-5, "bn_momentum": 0.9,
}  # fmt: skip
STATISTICS = {"bn_epsilon", "bn_momentum", "skip_as_conv"}  # of the input, where it is added


def batch_norm(x: str, y: str, channels: int = 8) -> Text:
    names = [f"{y}_{name}" for name in ("gamma", "beta", "mean", "variance")]
    weights = {name: np.full(channels, 0.5 + index) for index, name in enumerate(names)}
    attrs = "epsilon=0.00001, momentum=0.9"
    return Text(f"{y} = BatchNormalization<{attrs}>({x}, {', '.join(names)})\n", weights)


def summed(*operands: str, y: str = "y") -> Text:
    """The operands added one after another, and ReLU."""
    text, total = "", operands[0]
    for index, operand in enumerate(operands[1:]):
        text += f"{y}_{index} = Add({total}, {operand})\n"
        total = f"{y}_{index}"
    return Text(text + f"{y} = Relu({total})\n")


def depthwise(x: str = "x", p: str = "", attrs: str = "") -> Text:
    """Two 3×3 branches `c0` and `c1` and a 1×1 `s` of every channel by itself."""
    text = conv(x, f"{p}s", 8, 8, 1, attrs, group=8)
    text += conv(x, f"{p}c0", 8, 8, 3, attrs, group=8)
    return text + conv(x, f"{p}c1", 8, 8, 3, attrs, group=8)


def pointwise(x: str = "x", p: str = "", filters: int = 8) -> Text:
    return conv(x, f"{p}c0", filters, 8, 1) + conv(x, f"{p}c1", filters, 8, 1)


SKIP = batch_norm("x", "b")
WHOLE = depthwise() + SKIP + summed("c1", "s", "b", "c0")


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        (WHOLE, {}),
        (depthwise() + SKIP + summed("c1", "s", "c0", "b"), {}),
        (depthwise() + SKIP + Text("l = Add(c0, b)  r = Add(s, c1)\n") + summed("l", "r"), {}),
        (depthwise() + SKIP + Text("t = Sum(s, b, c0, c1)  y = Relu(t)\n"), {}),
        (WHOLE.but("y = Relu(y_2)", "y = Identity(y_2)"), {"activation": None}),
        (depthwise() + conv("x", "b", 8, 8, 1, group=8) + summed("s", "b", "c0", "c1"),
         {"skip_as_conv": True}),
        (depthwise(attrs=STRIDED) + summed("s", "c0", "c1"), {"strides": 2}),
        (depthwise() + SKIP + summed("s", "b", "c0"), {"num_branches": 1}),
        (pointwise() + SKIP + summed("b", "c0", "c1"), {"kernel_size": 1, "depthwise": False}),
        (pointwise() + SKIP + summed("b", "c0"),
         {"kernel_size": 1, "depthwise": False, "num_branches": 1}),
        (pointwise(filters=12) + summed("c0", "c1"),
         {"kernel_size": 1, "depthwise": False, "filters": 12}),
        (conv("x", "s", 16, 8, 1, group=8) + conv("x", "c0", 16, 8, group=8) + summed("s", "c0"),
         {"filters": 16, "num_branches": 1, "depthwise": False, "groups": 8}),
    ],
)  # fmt: skip
def test_a_block_in_any_order(tmp_path: Path, text: Text, changed: dict[str, Any]) -> None:
    network = text.lifted(tmp_path)
    (block,) = network.blocks
    expected = USUAL | changed
    without = STATISTICS if not {"b"} & set(text.nodes.replace("(", " ").split()) else set()
    if expected["skip_as_conv"]:
        without = STATISTICS - {"skip_as_conv"}
    if expected["kernel_size"] == 1:
        without = without | {"padding"}
    assert block.kind == "MobileOneBlock"
    assert block.params == {key: expected[key] for key in expected if key not in without}
    assert not network.unrecognised


OTHER = Text("other = Sin(x)\n")
STEPS = "ConvBnAct has kernel_size 1, not 3"
NORM = "BatchNormalization<epsilon=0.00001, momentum=0.9>"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (depthwise() + SKIP + summed("b", "c0", "c1"),
         "it has no 1×1 branch beside those of 3×3"),
        # Without a normalization the 1×1 could be what is left of one.
        (depthwise() + summed("s", "c0", "c1"), "it has no 1×1 branch beside those of 3×3"),
        (depthwise(attrs=STRIDED) + Text("m = AveragePool<kernel_shape=[1,1], strides=[2,2]>(x)\n")
         + batch_norm("m", "b") + summed("s", "b", "c0", "c1"), "x is another value than before"),
        (conv("x", "s", 8, 8, 1, group=8) + SKIP + summed("s", "b"),
         "its sum has 0 × conv, not 1"),
        (pointwise() + summed("c0", "c1"), "it adds its input 0 times, not 1"),
        (pointwise(filters=12) + conv("x", "b", 12, 8, 1) + SKIP.but("b = ", "n = ")
         + Text("m = Concat<axis=1>(n, half)\n", {"half": (2, 4, 8, 8)})
         + summed("m", "c0", "c1"), "ConvBnAct expected, found <Concat>"),
        (depthwise() + SKIP + conv("x", "d", 8, 8, 1, group=8)
         + summed("s", "b", "d", "c0", "c1"), "it adds its input 2 times, not 1"),
        (depthwise().but("c1 = Conv<pads=[1,1,1,1],", "c1 = Conv<pads=[2,2,2,2],",
                         c1_w=(8, 1, 5, 5)) + SKIP + summed("c1", "c0", "s", "b"),
         "ConvBnAct has kernel_size 3, not 5"),
        (WHOLE.but("c1 = Conv<pads=[1,1,1,1], group=8 ", "c1 = Conv<pads=[1,1,1,1], group=1",
                   c1_w=(8, 8, 3, 3)),
         "ConvBnAct has depthwise True, not False"),
        (pointwise(filters=12).but("c1 = Conv<", "c1 = Conv<strides=[2,2], ") + summed("c1", "c0"),
         "ConvBnAct has strides 1, not 2"),
        (depthwise() + SKIP + OTHER + summed("other", "s", "b", "c0", "c1"),
         "ConvBnAct expected, found <Sin>"),
        (OTHER + WHOLE.but("(x, c1_w, c1_b)", "(other, c1_w, c1_b)"),
         "x is another value than before"),
        (OTHER + WHOLE.but(f"{NORM}(x,", f"{NORM}(other,"), "x is another value than before"),
        (depthwise() + SKIP + Text("a = Relu(c0)\n") + summed("a", "s", "b", "c1"),
         "ConvBnAct: activation is 'relu', not None"),
        (WHOLE.but("(x, c1_w, c1_b)", "(x, c1_w)"),
         "ConvBnAct has kernel_size 1, not 3"),
        (conv("x", "s", 8, 3, 1) + conv("x", "c0", 8, 3) + summed("s", "c0"),
         "it is RepVGG's block, and no other is MobileOne's"),
        (conv("x", "s", 16, 8, 1, group=4) + conv("x", "c0", 16, 8, group=4) + summed("s", "c0"),
         "its groups have several channels each"),
    ],
)  # fmt: skip
def test_no_such_block_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    how = {"image": "float[2,3,8,8]"} if "RepVGG" in reason else {}
    how = {"image": "float[2,8,1,1]"} if "strides" in reason else how
    assert "MobileOneBlock" not in kinds(text.lifted(tmp_path, **how))
    assert text.reason(tmp_path, "MobileOneBlock", **how) == reason


@pytest.mark.parametrize(("inner", "holds"), [("y_0", False), ("y_1", False), ("y_2", True)])
def test_what_is_needed_elsewhere_is_not_inside(tmp_path: Path, inner: str, holds: bool) -> None:
    text = depthwise() + SKIP + summed("c0", "c1", "s", "b")
    found = every(text.lifted(tmp_path, outputs=f"y {inner}"), "MobileOneBlock")
    # The whole sum may be: then what is active is not the block.
    assert [block.activation for block in found] == ([None] if holds else [])


def test_a_foreign_operand_at_the_end_is_added_to_the_block(tmp_path: Path) -> None:
    text = depthwise() + SKIP + OTHER + summed("s", "b", "c0", "c1", "other")
    (block,) = every(text.lifted(tmp_path), "MobileOneBlock")
    assert (block.num_branches, block.activation) == (2, None)


def squeezed(x: str, y: str) -> Text:
    """Squeeze and excitation by way of two channels."""
    text = Text(f"{y}_p = GlobalAveragePool({x})\n") + conv(f"{y}_p", f"{y}_r", 2, 8, 1)
    text += Text(f"{y}_a = Relu({y}_r)\n") + conv(f"{y}_a", f"{y}_e", 8, 2, 1)
    return text + Text(f"{y}_g = Sigmoid({y}_e)  {y} = Mul({x}, {y}_g)\n")


def filled(text: Text) -> dict[str, Any]:
    """The weights of a text, so small that what goes through them stays as large as it was."""
    rng = np.random.default_rng(0)
    return {
        name: shape
        if isinstance(shape, np.ndarray)
        else rng.normal(size=shape) / max(np.prod(shape[1:]), 4) ** 0.5
        for name, shape in text.weights.items()
    }


def test_every_form_answers_as_onnxruntime(tmp_path: Path) -> None:
    text = conv("x", "d_s", 8, 3, 1, STRIDED) + conv("x", "d_c0", 8, 3, 3, STRIDED)
    text += summed("d_s", "d_c0", y="t0")
    text += depthwise("t0", "e_", STRIDED) + summed("e_s", "e_c0", "e_c1", y="t1")
    text += pointwise("t1", "f_") + batch_norm("t1", "f_b") + summed("f_b", "f_c0", "f_c1", y="t2")
    text += depthwise("t2", "g_") + conv("t2", "g_b", 8, 8, 1, group=8)
    text += (
        Text("t3 = Sum(g_s, g_b, g_c0, g_c1)\n") + squeezed("t3", "t4") + Text("t5 = Relu(t4)\n")
    )
    text += pointwise("t5", "h_", 12) + summed("h_c0", "h_c1")
    made = model(f"g (float[2,3,37,42] x) => (float y) {{ {text.nodes} }}", **filled(text))
    result = onnx2mvit.convert(save(made, tmp_path), tmp_path)
    assert result.passed
    assert [block.kind for block in result.blocks] == ["MobileOneBlock"] * 5
    assert [block.params.get("squeeze") for block in result.blocks] == [None, None, None, 2, None]
    assert [block.params.get("skip_as_conv") for block in result.blocks][2:4] == [False, True]
