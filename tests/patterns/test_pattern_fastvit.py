"""The blocks of FastViT, and where they do not hold by one detail."""

from pathlib import Path

import pytest

from onnx2mvit.lowering import lower
from tests.patterns.test_mobileone import batch_norm
from tests.support.texts import Text, attention, conv, every, kinds, only

GAMMA = {"gamma": (8, 1, 1)}
SQUEEZED = {"batch_norm": False, "use_bias": True}


def mixer() -> Text:
    """MobileOne's block of every channel by itself, `m`, and the norm `n`."""
    text = conv("x", "s", 8, 8, 1, group=8) + conv("x", "c", 8, 8, 3, group=8)
    text += batch_norm("x", "b") + Text("t = Add(s, b)  m = Add(t, c)\n")
    return text + batch_norm("x", "n")


def rep_mixer(y: str = "y") -> Text:
    mixed = Text(f"d = Sub(m, n)  g = Mul(gamma, d)  {y} = Add(x, g)\n", GAMMA)
    return mixer() + mixed


def conv_ffn(x: str, y: str) -> Text:
    text = conv(x, f"{y}_d", 8, 8, 7, group=8) + conv(f"{y}_d", f"{y}_1", 24, 8, 1)
    return text + Text(f"{y}_a = Gelu({y}_1)\n") + conv(f"{y}_a", y, 8, 24, 1)


def fed_forward(x: str = "r") -> Text:
    return conv_ffn(x, "f") + Text(f"h = Mul(f, delta)  y = Add(h, {x})\n", {"delta": (8, 1, 1)})


@pytest.mark.parametrize(
    ("text", "layer_scale"),
    [
        (rep_mixer(), True),
        (rep_mixer().but("Mul(gamma, d)", "Mul(d, gamma)").but("Add(x, g)", "Add(g, x)"), True),
        (rep_mixer().having(gamma=(1, 8, 1, 1)), True),
        (mixer() + Text("d = Sub(m, n)  y = Add(x, d)\n"), False),
        (mixer() + Text("d = Add(m, x)  y = Sub(d, n)\n"), False),
    ],
)
def test_a_rep_mixer(tmp_path: Path, text: Text, layer_scale: bool) -> None:
    network = text.lifted(tmp_path)
    (block,) = network.blocks
    assert block.kind == "RepMixer" and not network.unrecognised
    assert (block.kernel_size, block.layer_scale, block.skip_as_conv) == (3, layer_scale, False)
    assert [child.role for child in block.children] == ["mixer", "norm", "layer_scale"][
        : 2 + layer_scale
    ]


def test_a_rep_mixer_whose_normalizations_were_folded(tmp_path: Path) -> None:
    text = conv("x", "s", 8, 8, 1, group=8) + conv("x", "c", 8, 8, 3, group=8)
    text += conv("x", "b", 8, 8, 1, group=8) + conv("x", "n", 8, 8, 1, group=8)
    text += Text("t = Add(s, b)  m = Add(t, c)  d = Sub(m, n)  y = Add(x, d)\n")
    assert only(text.lifted(tmp_path), "RepMixer").skip_as_conv


OTHER = Text("other = Sin(x)\n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (rep_mixer().but("Sub(m, n)", "Sub(n, m)"), "(MobileOneBlock) expected, found <BatchNorm>"),
        (OTHER + rep_mixer().but("y = Add(x, g)", "y = Add(other, g)"),
         "x is another value than before"),
        (OTHER + mixer() + Text("o = Sub(m, other)  y = Add(x, o)\n"),
         "(BatchNorm) expected, found <Sin>"),
        (rep_mixer().having(gamma=(8, 8, 8)), "layer_scale (ImageLayerScale) expected"),
        (rep_mixer().but("d = Sub(m, n)", "e = Relu(m)  d = Sub(e, n)"),
         "(MobileOneBlock): activation is 'relu', not None"),
        (mixer().but("n = BatchNormalization<epsilon=0.00001", "n = BatchNormalization<epsilon=0.1")
         + Text("d = Sub(m, n)  y = Add(x, d)\n"), "norm has epsilon 0.1, mixer has 1e-05"),
    ],
)  # fmt: skip
def test_no_rep_mixer_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    assert "RepMixer" not in kinds(text.lifted(tmp_path))
    assert reason in text.reason(tmp_path, "RepMixer")


def test_a_conv_ffn_is_no_depthwise_separable_convolution(tmp_path: Path) -> None:
    text = conv_ffn("x", "y")
    (block,) = text.lifted(tmp_path).blocks
    assert (block.kind, block.mlp_ratio, block.activation) == ("ConvFFN", 3, "gelu")
    first, rest = text.nodes.split("\n", 1)
    bare = first.replace("y_d = ", "z = ").replace(", y_d_b)", ")")
    kept = Text(f"{bare}\n", text.weights) + batch_norm("z", "y_d") + Text(rest)
    (block,) = kept.lifted(tmp_path).blocks
    assert (block.kind, block.batch_norm, block.use_bias) == ("ConvFFN", True, False)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (conv("x", "y_d", 8, 8, 5, group=8) + conv("y_d", "y_1", 24, 8, 1)
         + Text("y_a = Gelu(y_1)\n") + conv("y_a", "y", 8, 24, 1), "kernel_size is 5, not 7"),
        (conv_ffn("x", "y").but("y_a = Gelu(y_1)", "y_a = Identity(y_1)"), "activation is None"),
        (conv_ffn("x", "y").having(y_w=(12, 24, 1, 1), y_b=(12,)), "it makes 12 channels of 8"),
        (conv_ffn("x", "z") + Text("y = Relu(z)\n"), "activation is 'relu', not None"),
        (conv_ffn("x", "y").but("(x, y_d_w, y_d_b)", "(x, y_d_w, y_d_b)\nu = Relu(y_d)\n").but(
            "(y_d, y_1_w, y_1_b)", "(u, y_1_w, y_1_b)"), "activation is 'relu', not None"),
    ],
)  # fmt: skip
def test_no_conv_ffn_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    assert "ConvFFN" not in kinds(text.lifted(tmp_path))
    assert reason in text.reason(tmp_path, "ConvFFN")


def test_a_block_of_rep_mixer_and_ffn(tmp_path: Path) -> None:
    (block,) = (rep_mixer("r") + fed_forward()).lifted(tmp_path).blocks
    assert (block.kind, block.mlp_ratio, block.layer_scale) == ("RepMixerBlock", 3, True)
    half = mixer() + Text("d = Sub(m, n)  r = Add(x, d)\n") + fed_forward()
    assert "RepMixerBlock" not in kinds(half.lifted(tmp_path))
    assert half.reason(tmp_path, "RepMixerBlock") == "one of its branches alone is scaled"


MERGED = conv("x", "r", 8, 8, 3, group=8)


def test_a_merged_block(tmp_path: Path) -> None:
    (block,) = (MERGED + fed_forward()).lifted(tmp_path).blocks
    assert (block.kind, block.kernel_size, block.layer_scale) == ("RepMixerBlock", 3, True)
    assert block.merged
    plain = MERGED + conv_ffn("r", "f") + Text("y = Add(f, r)\n")
    assert not plain.lifted(tmp_path).blocks[0].layer_scale


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (conv("x", "r", 8, 8, 1, group=8) + fed_forward(), "its token mixer sees one pixel"),
        (conv("x", "r", 8, 8, 3) + fed_forward(), "depthwise is False, not True"),
        (conv("x", "q", 8, 8, 3, group=8) + Text("r = Relu(q)\n") + fed_forward(),
         "activation is 'relu', not None"),
        (MERGED + fed_forward().but("Add(h, r)", "Add(h, x)"), "token_mixer (RepMixer) expected"),
    ],
)  # fmt: skip
def test_no_merged_block_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    assert "RepMixerBlock" not in kinds(text.lifted(tmp_path))
    assert reason in text.reason(tmp_path, "RepMixerBlock")


def test_a_positional_encoding(tmp_path: Path) -> None:
    text = conv("x", "p", 8, 8, 7, group=8) + Text("y = Add(p, x)\n")
    assert kinds(text.lifted(tmp_path)) >= {"ConditionalPositionalEncoding"}
    # A residual of a small convolution is that of other networks.
    small = conv("x", "p", 8, 8, 3, group=8) + Text("y = Add(p, x)\n")
    assert "ConditionalPositionalEncoding" not in kinds(small.lifted(tmp_path))
    reason = small.reason(tmp_path, "ConditionalPositionalEncoding")
    assert reason == "conv (ConvBnAct): kernel_size is 3, not 7"


def attending() -> Text:
    text = batch_norm("x", "n") + Text("u = Reshape(n, flat)  tok = Transpose<perm=[0,2,1]>(u)\n")
    text += attention("tok", "w", "a_")
    text += Text("i = Transpose<perm=[0,2,1]>(w)  j = Reshape(i, image)\n")
    text += Text("e = Mul(j, gamma)  r = Add(x, e)\n", GAMMA)
    shapes = {"flat": [2, 8, 64], "image": [2, 8, 8, 8]}
    return text.having(a_split=[2, 64, 2, 4], a_join=[2, 64, 8], **shapes) + fed_forward()


def test_attention_on_an_image(tmp_path: Path) -> None:
    (block,) = attending().lifted(tmp_path).blocks
    assert (block.kind, block.num_heads, block.mlp_ratio) == ("FastViTAttentionBlock", 2, 3)
    assert block.layer_scale


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (attending().but("e = Mul(j, gamma)", "e = Identity(j)"),
         "one of its branches alone is scaled"),
        (attending().but("r = Add(x, e)", "r = Add(n, e)"), "x is another value than before"),
        (attending().but("Reshape(n, flat)", "Reshape(x, flat)"), "(BatchNorm) expected"),
        (attending().but("perm=[0,2,1]>(w)", "perm=[0,1,2]>(w)"), "its axes are not moved as in"),
    ],
)  # fmt: skip
def test_no_attention_on_an_image_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    assert "FastViTAttentionBlock" not in kinds(text.lifted(tmp_path))
    assert reason in text.reason(tmp_path, "FastViTAttentionBlock")


def test_a_factor_for_each_channel_is_a_block_within_others_alone(tmp_path: Path) -> None:
    """An image that is standardized is times a constant too."""
    network = Text("y = Mul(x, gamma)\n", GAMMA).lifted(tmp_path)
    assert [b.weights["kernel"].shape for b in every(network, "ImageLayerScale")] == [(1, 1, 8, 1)]
    assert [block.kind for block in lower(network).blocks] == ["Mul"]
