"""The blocks of RepViT, and where they do not hold by one detail."""

from pathlib import Path

import pytest

from tests.patterns.test_mobileone import batch_norm
from tests.support.texts import Text, conv, kinds, only


def token_mixer(y: str = "r", x: str = "x") -> Text:
    text = conv(x, "c", 8, 8, 3, group=8) + conv(x, "s", 8, 8, 1, group=8)
    return text + Text(f"t = Add(c, s)  {y} = Add(t, {x})\n")


def channel_mixer(x: str = "r", y: str = "y") -> Text:
    text = conv(x, "e", 16, 8, 1) + Text("a = Gelu(e)\n") + conv("a", "j", 8, 16, 1)
    return text + Text(f"{y} = Add(j, {x})\n")


MERGED = conv("x", "r", 8, 8, 3, group=8)
NORMALIZED = token_mixer("q") + batch_norm("q", "r")
DOWN = conv("x", "d", 8, 8, 3, "strides=[2,2]", group=8) + conv("d", "r", 8, 8, 1)


@pytest.mark.parametrize(
    ("text", "merged", "normalize"),
    [(token_mixer(), None, False), (NORMALIZED, None, True), (MERGED, True, None)],
)
def test_a_block(tmp_path: Path, text: Text, merged: bool | None, normalize: bool | None) -> None:
    network = (text + channel_mixer()).lifted(tmp_path)
    (block,) = network.blocks
    assert block.kind == "RepViTBlock" and not network.unrecognised
    assert (block.expansion, block.kernel_size, block.activation) == (2, 3, "gelu")
    assert (block.params.get("merged"), block.params.get("normalize")) == (merged, normalize)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (conv("x", "r", 8, 8, 3) + channel_mixer(), "depthwise is False, not True"),
        (conv("x", "r", 8, 8, 1, group=8) + channel_mixer(), "its token mixer sees one pixel"),
        (conv("x", "q", 8, 8, 3, group=8, bias=False) + batch_norm("q", "r") + channel_mixer(),
         "has batch_norm"),
        (MERGED + channel_mixer().but("y = Add(j, r)", "y = Add(j, x)"), "token_mixer"),
        (MERGED + channel_mixer().but("a = Gelu(e)", "a = Identity(e)"), "conv1"),
        (token_mixer().but("r = Add(t, x)", "r = Identity(t)") + channel_mixer(), "token_mixer"),
    ],
)  # fmt: skip
def test_no_block_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    assert "RepViTBlock" not in kinds(text.lifted(tmp_path))
    assert reason in text.reason(tmp_path, "RepViTBlock")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (token_mixer("y").but("c = Conv<pads=[1,1,1,1]", "c = Conv<pads=[0,0,0,0]").having(
            c_w=(8, 1, 1, 1)), "its larger convolution sees one pixel"),
        (Text("o = Sin(x)\n") + token_mixer("y").but("y = Add(t, x)", "y = Add(t, o)"),
         "x is another value than before"),
        (Text("o = Sin(x)\n") + token_mixer("y").but("(x, s_w, s_b)", "(o, s_w, s_b)"),
         "x is another value than before"),
    ],
)  # fmt: skip
def test_no_token_mixer_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    assert "RepVGGDepthwise" not in kinds(text.lifted(tmp_path))
    assert reason in text.reason(tmp_path, "RepVGGDepthwise")


def test_halving_the_size(tmp_path: Path) -> None:
    block = only((DOWN + channel_mixer()).lifted(tmp_path), "RepViTDownsample")
    assert (block.filters, block.expansion, block.kernel_size) == (8, 2, 3)
    same = DOWN.but("strides=[2,2]", "strides=[1,1]") + channel_mixer()
    assert "RepViTDownsample" not in kinds(same.lifted(tmp_path))
    assert same.reason(tmp_path, "RepViTDownsample").endswith("strides is 1, not 2")
