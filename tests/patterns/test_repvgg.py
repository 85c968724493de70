"""RepVGG's block, and where it does not hold by one detail."""

from pathlib import Path
from typing import Any

import pytest

import onnx2mvit
from tests.patterns.test_mobileone import (
    NORM,
    OTHER,
    SKIP,
    STRIDED,
    batch_norm,
    filled,
    squeezed,
    summed,
)
from tests.support.graphs import model, save
from tests.support.texts import Text, conv, every, kinds

SHAPED = {
    "filters": 8, "strides": 1, "groups": 1, "activation": "relu", "padding": None,
    "batch_norm": False, "use_bias": True,
}  # fmt: skip
USUAL = SHAPED | {"skip_as_conv": False, "bn_epsilon": 1e-5, "bn_momentum": 0.9}


def two(
    x: str = "x", p: str = "", filters: int = 8, channels: int = 8, attrs: str = "", group: int = 1
) -> Text:
    """A 3×3 convolution `c` and a 1×1 `s`."""
    text = conv(x, f"{p}c", filters, channels, 3, attrs, group)
    return text + conv(x, f"{p}s", filters, channels, 1, attrs, group)


WHOLE = two() + SKIP + summed("c", "s", "b")


@pytest.mark.parametrize(
    ("text", "params"),
    [
        (WHOLE, USUAL),
        (two() + SKIP + summed("b", "c", "s"), USUAL),
        (two() + SKIP + Text("t = Sum(b, s, c)  y = Relu(t)\n"), USUAL),
        (WHOLE.but("y = Relu(y_1)", "y = Identity(y_1)"), USUAL | {"activation": None}),
        (two(group=2) + SKIP + summed("c", "s", "b"), USUAL | {"groups": 2}),
        (two() + conv("x", "b", 8, 8, 1, group=8) + summed("c", "s", "b"),
         SHAPED | {"skip_as_conv": True}),
        (two(attrs=STRIDED) + summed("c", "s"), SHAPED | {"strides": 2}),
        (two(filters=12) + summed("s", "c"), SHAPED | {"filters": 12}),
    ],
)  # fmt: skip
def test_a_block_in_any_order(tmp_path: Path, text: Text, params: dict[str, Any]) -> None:
    network = text.lifted(tmp_path)
    (block,) = network.blocks
    assert (block.kind, block.params) == ("RepVGGBlock", params)
    assert not network.unrecognised


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (two() + summed("c", "s"), "it adds its input 0 times, not 1"),
        (two(filters=16, group=8) + summed("c", "s"), "its groups have one channel each"),
        (conv("x", "c", 8, 8) + SKIP + summed("c", "b"),
         "its sum has 0 × pointwise, not 1"),
        (two() + SKIP + conv("x", "d", 8, 8, 1, group=8) + summed("b", "d", "c", "s"),
         "it adds its input 2 times, not 1"),
        (two(attrs=STRIDED) + Text("m = AveragePool<kernel_shape=[1,1], strides=[2,2]>(x)\n")
         + batch_norm("m", "b") + summed("c", "b", "s"), "x is another value than before"),
        (two().but("c = Conv<pads=[1,1,1,1],", "c = Conv<pads=[2,2,2,2],", c_w=(8, 8, 5, 5))
         + SKIP + summed("c", "s", "b"), "conv (ConvBnAct): kernel_size is 5, not 3"),
        (two(filters=12, attrs=STRIDED).but("s = Conv<pads=[0,0,0,0], group=1 ,strides=[2,2]",
                                            "s = Conv<pads=[0,0,0,0], group=1 ,strides=[1,1]")
         + summed("c", "s"), "pointwise has strides 1, conv has 2"),
        (WHOLE.but("s = Conv<pads=[0,0,0,0], group=1", "s = Conv<pads=[0,0,0,0], group=2",
                   s_w=(8, 4, 1, 1)), "pointwise has groups 2, conv has 1"),
        (two() + SKIP + OTHER + summed("other", "c", "s", "b"),
         "conv (ConvBnAct) expected, found <Sin>"),
        (OTHER + WHOLE.but("(x, s_w, s_b)", "(other, s_w, s_b)"), "x is another value than before"),
        (OTHER + WHOLE.but(f"{NORM}(x,", f"{NORM}(other,"), "x is another value than before"),
        (two() + SKIP + Text("a = Relu(c)\n") + summed("a", "s", "b"),
         "conv (ConvBnAct): activation is 'relu', not None"),
        (WHOLE.but("(x, s_w, s_b)", "(x, s_w)"),
         "pointwise has use_bias False, conv has True"),
    ],
)  # fmt: skip
def test_no_such_block_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    how = {"image": "float[2,8,1,1]"} if "strides" in reason else {}
    assert "RepVGGBlock" not in kinds(text.lifted(tmp_path, **how))
    assert text.reason(tmp_path, "RepVGGBlock", **how) == reason


@pytest.mark.parametrize(("inner", "holds"), [("y_0", False), ("y_1", True)])
def test_what_is_needed_elsewhere_is_not_inside(tmp_path: Path, inner: str, holds: bool) -> None:
    found = every(WHOLE.lifted(tmp_path, outputs=f"y {inner}"), "RepVGGBlock")
    assert [block.activation for block in found] == ([None] if holds else [])


def test_every_form_answers_as_onnxruntime(tmp_path: Path) -> None:
    text = two("x", "d_", 8, 3, STRIDED) + summed("d_c", "d_s", y="t0")
    text += two("t0", "e_", group=2) + batch_norm("t0", "e_b")
    text += Text("e = Sum(e_c, e_s, e_b)\n") + squeezed("e", "e_q") + Text("t1 = Relu(e_q)\n")
    text += two("t1", "f_") + conv("t1", "f_b", 8, 8, 1, group=8) + summed("f_c", "f_s", "f_b")
    made = model(f"g (float[2,3,37,42] x) => (float y) {{ {text.nodes} }}", **filled(text))
    result = onnx2mvit.convert(save(made, tmp_path), tmp_path)
    assert result.passed
    assert [block.kind for block in result.blocks] == ["RepVGGBlock"] * 3
    assert [block.params.get("squeeze") for block in result.blocks] == [None, 2, None]
    assert [block.params.get("skip_as_conv") for block in result.blocks] == [None, False, True]
