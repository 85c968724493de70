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


@pytest.mark.parametrize(("text", "scaled"), [(block(), True), (PLAIN, False)])
def test_a_block(tmp_path: Path, text: Text, scaled: bool) -> None:
    network = lifted(tmp_path, text)
    assert [each.kind for each in network.blocks] == ["PoolFormerBlock"]
    assert network.blocks[0].params == {
        "pool_size": 3, "mlp_ratio": 4, "activation": "gelu", "layer_scale": scaled,
        "groups": 1, "epsilon": 1e-5,
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
    ],
    ids=["the other way round", "less what is not normalized", "one scale", "zeros count",
         "another residual", "no activation"],
)  # fmt: skip
def test_no_block_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    assert "PoolFormerBlock" not in kinds(lifted(tmp_path, text))
    assert not reason or text.reason(tmp_path, "PoolFormerBlock", opset=21) == reason


STEM = "strides=[4,4], pads=[2,2,2,2]"


def test_patches_that_overlap(tmp_path: Path) -> None:
    found = only(conv("x", "y", 16, 8, 7, STEM).lifted(tmp_path), "OverlappingPatchEmbedding")
    assert found.params == {"dim": 16, "patch_size": 7, "strides": 4, "padding": 2}


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
