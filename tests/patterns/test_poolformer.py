"""PoolFormer's blocks, and where they do not hold by one detail."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.texts import Text, conv, kinds, only

POOL = "AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], strides=[1,1]>"


def norm(x: str, y: str) -> Text:
    weights = {f"{y}_g": (8,), f"{y}_b": (8,)}
    return Text(f"{y} = GroupNormalization<num_groups=1>({x}, {y}_g, {y}_b)\n", weights)


def block() -> Text:
    return (
        norm("x", "n")
        + Text(f"p = {POOL}(n)  d = Sub(p, n)  s = Mul(d, first)  m = Add(x, s)\n")
        + norm("m", "k")
        + conv("k", "fc1", 32, 8, 1)
        + Text("a = Gelu(fc1)\n")
        + conv("a", "fc2", 8, 32, 1)
        + Text("t = Mul(fc2, second)  y = Add(m, t)\n")
    ).having(first=(8, 1, 1), second=(8, 1, 1))


def lifted(folder: Path, text: Text) -> Any:
    return text.lifted(folder, opset=21)


PLAIN = (
    block()
    .but("s = Mul(d, first)", "s = Identity(d)")
    .but("t = Mul(fc2, second)", "t = Identity(fc2)")
)


# PoolFormerV2's.
STAR = (
    PLAIN.but("a = Gelu(fc1)", "r = Relu(fc1)  q = Pow(r, two)  i = Mul(q, star)  a = Add(i, off)")
    .but("m = Add(x, s)", "k0 = Mul(x, first)  m = Add(k0, s)")
    .but("y = Add(m, t)", "k1 = Mul(m, second)  y = Add(k1, t)")
    .having(two=2.0, star=[0.5], off=[-0.25])
)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (block(), {"layer_scale": True}),
        (PLAIN, {}),
        (STAR, {"star": True, "residual_scale": True, "activation": "relu"}),
    ],
    ids=["scaled", "plain", "V2"],
)
def test_a_block(tmp_path: Path, text: Text, form: dict[str, Any]) -> None:
    network = lifted(tmp_path, text)
    assert [each.kind for each in network.blocks] == ["PoolFormerBlock"]
    assert network.blocks[0].params == {
        "pool_size": 3, "mlp_ratio": 4, "activation": "gelu", "star": False, "layer_scale": False,
        "residual_scale": False, "use_bias": True, "groups": 1, "epsilon": 1e-5,
    } | form  # fmt: skip


def test_the_numbers_of_a_starrelu_are_for_all_channels(tmp_path: Path) -> None:
    weights = only(lifted(tmp_path, STAR), "ScaledSquare").weights
    assert {name: (array.shape, set(array.ravel())) for name, array in weights.items()} == {
        "kernel": ((1, 1, 32, 1), {0.5}), "bias": ((32,), {-0.25}),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (block().but("d = Sub(p, n)", "d = Sub(n, p)"), ""),
        (block().but("d = Sub(p, n)", "d = Sub(p, x)"), ""),
        (block().but("t = Mul(fc2, second)", "t = Identity(fc2)"),
         "one of its branches alone is scaled"),
        (block().but("pads=[1,1,1,1]", "pads=[1,1,1,1], count_include_pad=1"), ""),
        (block().but("y = Add(m, t)", "y = Add(x, t)"), ""),
        (block().but("a = Gelu(fc1)", "a = Identity(fc1)"), ""),
        (STAR.having(two=3.0), ""),
        (STAR.having(off=(32, 1, 1)), ""),
        (STAR.but("y = Add(k1, t)", "y = Add(m, t)"),
         "one of its branches alone is scaled"),
    ],
    ids=["the other way round", "less what is not normalized", "one scale", "zeros count",
         "another residual", "no activation", "a cube", "an offset for each channel",
         "one residual scaled"],
)  # fmt: skip
def test_no_block_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    assert "PoolFormerBlock" not in kinds(lifted(tmp_path, text))
    assert not reason or text.reason(tmp_path, "PoolFormerBlock", opset=21) == reason


STEM = "strides=[4,4], pads=[2,2,2,2]"


def test_patches_that_overlap(tmp_path: Path) -> None:
    found = only(conv("x", "y", 16, 8, 7, STEM).lifted(tmp_path), "OverlappingPatchEmbedding")
    usual = {"dim": 16, "patch_size": 7, "strides": 4, "padding": 2}
    assert found.params == {**usual, "use_bias": True}
    found = only(
        conv("x", "y", 16, 8, 7, STEM, bias=False).lifted(tmp_path), "OverlappingPatchEmbedding"
    )
    assert found.params == {**usual, "use_bias": False}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (conv("x", "y", 16, 8, 7, "strides=[4,4], pads=[3,3,3,3]"), "it pads 3 pixels around 7×7"),
        (conv("x", "y", 16, 8, 7, "strides=[4,4], pads=[2,2,3,3]"), "its padding is (2, 2, 3, 3)"),
        (conv("x", "y", 16, 8, 7, "strides=[1,1], pads=[2,2,2,2]"), "its patches do not overlap"),
        (conv("x", "y", 16, 8, 7, 'strides=[4,4], auto_pad="SAME_UPPER"'),
         "its padding depends on the size"),
    ],
)  # fmt: skip
def test_no_patches_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    assert "OverlappingPatchEmbedding" not in kinds(text.lifted(tmp_path))
    assert text.reason(tmp_path, "OverlappingPatchEmbedding") == reason
