"""GhostNet's blocks, and where they do not hold by one detail."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.texts import Text, conv, kinds, only

STRIDED = "strides=[2,2], pads=[1,1,1,1]"


def ghost(x: str, y: str, channels: int, half: int, active: bool) -> Text:
    """A Ghost module; what is inside begins with the name of what it gives."""
    act = "Relu" if active else "Identity"
    text = conv(x, f"{y}_p", half, channels, 1) + Text(f"{y}_q = {act}({y}_p)\n")
    text += conv(f"{y}_q", f"{y}_c", half, half, 3, group=half)
    return text + Text(f"{y}_d = {act}({y}_c)  {y} = Concat<axis=1>({y}_q, {y}_d)\n")


def gated(rows: str = "pads=[0,2,0,2]", columns: str = "pads=[2,0,2,0]") -> Text:
    """DFC attention for 16 channels of `x`, beside a Ghost module of it."""
    weights = {"r_w": (16, 1, 1, 5), "r_b": (16,), "k_w": (16, 1, 5, 1), "k_b": (16,)}
    return (
        ghost("x", "g", 8, 8, True)
        + Text("half = AveragePool<kernel_shape=[2,2], strides=[2,2]>(x)\n")
        + conv("half", "narrow", 16, 8, 1)
        + Text(
            f"""
            r = Conv<group=16, {rows}>(narrow, r_w, r_b)
            k = Conv<group=16, {columns}>(r, k_w, k_b)
            s = Sigmoid(k)
            large = Resize<mode="nearest", coordinate_transformation_mode="asymmetric",
                           nearest_mode="floor">(s, , , size)
            y = Mul(g, large)
            """,
            weights | {"size": [2, 16, 8, 8]},
        )
    )


def bottleneck() -> Text:
    return ghost("x", "a", 8, 12, True) + ghost("a", "b", 24, 4, False) + Text("y = Add(b, x)\n")


def strided() -> Text:
    """A block with strides, whose input is projected."""
    return (
        ghost("x", "a", 8, 12, True)
        + conv("a", "w", 24, 24, 3, STRIDED, group=24)
        + ghost("w", "b", 24, 8, False)
        + conv("x", "v", 8, 8, 3, STRIDED, group=8)
        + conv("v", "u", 16, 8, 1)
        + Text("y = Add(b, u)\n")
    )


@pytest.mark.parametrize(
    ("text", "params"),
    [
        (bottleneck(), {"filters": 8, "hidden": 24, "strides": 1}),
        (bottleneck().but("y = Add(b, x)", "y = Add(x, b)"), {"filters": 8}),
        (strided(), {"filters": 16, "hidden": 24, "strides": 2, "kernel_size": 3}),
    ],
)
def test_a_block(tmp_path: Path, text: Text, params: dict[str, Any]) -> None:
    (block,) = text.lifted(tmp_path).blocks
    assert block.kind == "GhostBottleneck"
    assert {name: block.params[name] for name in params} == params
    assert block.params["attention"] is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (bottleneck().but("y = Add(b, x)", "o = Sin(x)  y = Add(b, o)"),
         "shortcut (ConvBnAct) expected, found <Sin>"),
        (bottleneck().but("b_q = Identity(b_p)", "b_q = Relu(b_p)"), ""),
        (bottleneck().but("a = Concat<axis=1>(a_q, a_d)", "a = Concat<axis=1>(a_d, a_q)"), ""),
        (bottleneck().but("a_q = Relu(a_p)", "a_q = Sigmoid(a_p)"), ""),
        (ghost("x", "a", 8, 12, True) + ghost("a", "b", 24, 4, False)
         + conv("x", "v", 8, 8, 3, group=8) + conv("v", "u", 8, 8, 1) + Text("y = Add(b, u)\n"),
         "its input is projected where it need not be"),
    ],
    ids=["another residual", "one half is active", "the cheap ones first", "other activations",
         "projected without need"],
)  # fmt: skip
def test_no_block_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    assert "GhostBottleneck" not in kinds(text.lifted(tmp_path))
    assert not reason or text.reason(tmp_path, "GhostBottleneck") == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (gated("pads=[2,0,2,0]", "pads=[0,2,0,2]")
         .having(r_w=(16, 1, 5, 1), k_w=(16, 1, 1, 5)), "it does not go along rows first"),
        (gated(columns="pads=[3,0,3,0]").having(k_w=(16, 1, 7, 1)),
         "it does not go along columns of 5 pixels"),
        (gated(columns="pads=[1,1,1,1]").having(k_w=(16, 1, 3, 3)),
         "it does not go along columns of 5 pixels"),
    ],
)  # fmt: skip
def test_no_attention_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    assert text.reason(tmp_path, "DFCAttention") == reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (('"floor"', '"ceil"'), "nearest_mode is 'ceil', not 'floor'"),
        (("Mul(g, large)", "Add(g, large)"), ""),
    ],
)  # fmt: skip
def test_gates_are_stretched_as_in_torch(
    tmp_path: Path, change: tuple[str, str], reason: str
) -> None:
    after = ghost("y", "b", 16, 4, False) + Text("z = Add(b, x)\n")
    block = only((gated() + after).lifted(tmp_path, outputs="z"), "GhostBottleneck")
    assert block.params["attention"] == 5
    text = gated().but(*change) + after
    assert "GhostBottleneck" not in kinds(text.lifted(tmp_path, outputs="z"))
    assert text.reason(tmp_path, "GhostModule", outputs="z").endswith(reason)


@pytest.mark.parametrize("length", [2, 3])
def test_the_mean_of_all_pixels_pools_an_image_of_2_by_2_alone(tmp_path: Path, length: int) -> None:
    text = (gated() + ghost("y", "b", 16, 4, False) + Text("z = Add(b, x)\n")).having(
        size=[2, 16, length, length]
    )
    text = text.but("AveragePool<kernel_shape=[2,2], strides=[2,2]>(x)", "GlobalAveragePool(x)")
    image = f"float[2,8,{length},{length}]"
    found = kinds(text.lifted(tmp_path, image=image, outputs="z"))
    assert ("GhostBottleneck" in found) == (length == 2)
    if length == 3:
        reason = text.reason(tmp_path, "DFCAttention", image=image, outputs="z")
        assert reason == "it is the mean of (3, 3) pixels"
