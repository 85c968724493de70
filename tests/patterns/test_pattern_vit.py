"""The blocks of vision transformers, and what looks like them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnx2mvit
from onnx2mvit.builder import build
from onnx2mvit.errors import UnsupportedError
from onnx2mvit.matcher.rooted import Array
from tests.support.graphs import model, save
from tests.support.texts import Text, conv_silu, every, only

BATCH, DIM, PATCH, GRID = 2, 8, 4, (2, 3)
NUMBER = GRID[0] * GRID[1]
IMAGE = f"float[{BATCH},3,{GRID[0] * PATCH},{GRID[1] * PATCH}]"
VECTORS = f"float[{BATCH},1,{NUMBER},{DIM}]"

rng = np.random.default_rng(0)


def learned(*shape: int) -> Array:
    """A parameter that an exporter expanded to the batch."""
    return np.repeat(rng.normal(size=(1, *shape)), BATCH, axis=0).astype(np.float32)


PATCHES = Text(
    f"""
    p = Conv<strides=[{PATCH},{PATCH}]>(x, p_w, p_b)
    f = Reshape(p, flat)  t = Transpose<perm=[0,2,1]>(f)
    """,
    {
        "p_w": (DIM, 3, PATCH, PATCH),
        "p_b": (DIM,),
        "flat": [BATCH, DIM, NUMBER],
    },
)
TOKEN = PATCHES + Text("c = Concat<axis=1>(cls, t)\n", {"cls": learned(1, DIM)})
VIT = TOKEN + Text("y = Add(c, pos)\n", {"pos": (1, NUMBER + 1, DIM)})
DEIT_3 = PATCHES + Text(
    "a = Add(t, pos)  y = Concat<axis=1>(cls, a)\n",
    {"pos": (1, NUMBER, DIM), "cls": learned(1, DIM)},
)
USUAL = {"dim": DIM, "patch_size": PATCH, "use_bias": True, "grid": GRID}


@pytest.mark.parametrize(
    ("text", "params"),
    [
        (VIT, {"prefix_tokens": 1}),
        (VIT.but("<axis=1>(cls", "<axis=-2>(cls"), {"prefix_tokens": 1}),
        (VIT.but("Add(c, pos)", "Add(pos, c)", pos=(NUMBER + 1, DIM)), {"prefix_tokens": 1}),
        (VIT.having(pos=learned(NUMBER + 1, DIM)), {"prefix_tokens": 1}),
        (VIT.but("(cls, t)", "(cls, dist, t)", dist=learned(1, DIM), pos=(1, NUMBER + 2, DIM)),
         {"prefix_tokens": 2}),
        (VIT.but("(cls, t)", "(cls, registers, t)", registers=learned(4, DIM),
                 pos=(1, NUMBER + 5, DIM)), {"prefix_tokens": 5}),
        (VIT.but("p_w, p_b)", "p_w)"), {"prefix_tokens": 1, "use_bias": False}),
        (VIT.but("f = Reshape(p, flat)  t = Transpose<perm=[0,2,1]>(f)",
                 "f = Transpose<perm=[0,2,3,1]>(p)  t = Reshape(f, flat)",
                 flat=[BATCH, NUMBER, DIM]), {"prefix_tokens": 1}),
        (DEIT_3, {"tokens_without_position": 1}),
        (PATCHES + Text("y = Add(t, pos)", {"pos": (1, NUMBER, DIM)}), {}),
    ],
    ids=["usual", "axis from the end", "positions first", "positions expanded", "distillation",
         "registers", "no bias", "channels last", "deit 3", "no token"],
)  # fmt: skip
def test_embeddings(tmp_path: Path, text: Text, params: dict[str, Any]) -> None:
    network = text.lifted(tmp_path, image=IMAGE)
    assert [block.kind for block in network.blocks] == ["ViTEmbeddings"]
    assert only(network, "ViTEmbeddings").params == USUAL | params


def test_the_weights_of_embeddings(tmp_path: Path) -> None:
    tokens = {"cls": learned(1, DIM), "dist": learned(1, DIM), "pos": learned(NUMBER + 2, DIM)}
    network = VIT.but("(cls, t)", "(cls, dist, t)", **tokens).lifted(tmp_path, image=IMAGE)
    expected = np.concatenate([tokens["cls"][0], tokens["dist"][0]])
    assert (only(network, "ClassToken").weights["embeddings"] == expected).all()
    assert (only(network, "PositionEmbedding").weights["embeddings"] == tokens["pos"][0]).all()


PIXELS = Text("r = Reshape(y, image)  o = Transpose<perm=[0,3,1,2]>(r)\n",
              {"image": [BATCH, *GRID, DIM]})  # fmt: skip
OF_IMAGE = Text("i = Slice(y, first, last, axis)\n",
                {"first": [1], "last": [NUMBER + 1], "axis": [1]})  # fmt: skip
CUT = VIT + OF_IMAGE + PIXELS.but("(y,", "(i,")
WHOLE = PATCHES + Text("y = Add(t, pos)\n", {"pos": (1, NUMBER, DIM)}) + PIXELS


@pytest.mark.parametrize(
    ("text", "params"),
    [
        (CUT, {"stride": PATCH, "prefix_tokens": 1}),
        (WHOLE, {"stride": PATCH}),
        (CUT.having(first=[0], last=[NUMBER]), {"stride": PATCH}),
    ],
    ids=["without the class token", "all of them", "a part that another node takes"],
)
def test_tokens_become_an_image(tmp_path: Path, text: Text, params: dict[str, Any]) -> None:
    network = text.lifted(tmp_path, image=IMAGE, outputs="o")
    assert [block.kind for block in network.blocks] == ["ViTEmbeddings", "TokensToImage"]
    assert only(network, "TokensToImage").params == params


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (CUT.having(image=[BATCH, 1, NUMBER, DIM]),
         "tokens are no parts of the image"),
        (WHOLE.but("[0,3,1,2]", "[0,3,2,1]"), ""),
    ],
    ids=["another grid", "width before height"],
)  # fmt: skip
def test_no_image_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    how = {"image": IMAGE, "outputs": "o"}
    assert not every(text.lifted(tmp_path, **how), "TokensToImage")
    assert text.reason(tmp_path, "TokensToImage", **how).startswith(reason)


def test_a_model_of_any_size_makes_no_image_of_tokens(tmp_path: Path) -> None:
    text = PATCHES + PIXELS.but("(y,", "(t,")
    file = save(model(f"g ({IMAGE} x) => (float o) {{ {text.nodes} }}", **text.weights), tmp_path)
    told = r"any size: 'image_of_patches_0' \(TokensToImage\) makes .* Ask for one size"
    with pytest.raises(UnsupportedError, match=told):
        onnx2mvit.convert(file, tmp_path / "any", image_size="any", verify=False)
    result = onnx2mvit.convert(file, tmp_path / "own", verify=False)
    assert build(result.folder, input_shape=(12, 16, 3)).output_shape == (None, 3, 4, DIM)
    with pytest.raises(UnsupportedError, match=r"\(None, None, 3\) is not in numbers"):
        build(result.folder, input_shape=(None, None, 3))


def test_tokens_become_an_image_with_channels_last(tmp_path: Path) -> None:
    text = WHOLE.but("  o = Transpose<perm=[0,3,1,2]>(r)", "")
    network = text.lifted(tmp_path, image=IMAGE, outputs="r")
    assert [block.kind for block in network.blocks] == ["ViTEmbeddings", "TokensToPixels"]
    assert only(network, "TokensToPixels").params == {"stride": PATCH}
    how = {"image": IMAGE, "outputs": "r"}
    text = text.having(image=[BATCH, *GRID[::-1], DIM])
    assert not every(text.lifted(tmp_path, **how), "TokensToPixels")
    reason = "tokens are no parts of the image"
    assert text.reason(tmp_path, "TokensToPixels", **how).startswith(reason)


STRIDE_2 = PATCHES.but(
    "strides=[4,4]", "strides=[2,2]", flat=[BATCH, DIM, 15], **{"pos": (1, 15, DIM)}
)


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        (STRIDE_2, "PatchEmbedding", "projection has strides 2, not 4"),
        (PATCHES.but("Conv<", "Conv<pads=[1,1,1,1],"), "PatchEmbedding", "it pads the image"),
        (PATCHES.but("f = Reshape(p, flat)", "s = Sin(p)  f = Reshape(s, flat)"),
         "PatchEmbedding", "projection (Conv2D) expected, found <Sin>"),
        (PATCHES.having(flat=[BATCH, 2 * DIM, NUMBER // 2]), "ImageToTokens",
         "its axes are not moved as in"),
        (PATCHES.but("[0,2,1]", "[2,0,1]"), "ImageToTokens", ""),
        (TOKEN.having(cls=(BATCH, 1, DIM)), "ClassToken", "a token is another for every image"),
        (TOKEN.but("(cls, t)", "(t, cls)"), "ClassToken", "the last part is not tokens"),
        (TOKEN.but("(cls, t)", "(t)"), "ClassToken", ""),
        (TOKEN.but("c = Concat<axis=1>(cls, t)", "s = Sin(t)  c = Concat<axis=1>(s, t)"),
         "ClassToken", "a part before the last is not learned"),
        (TOKEN.but("<axis=1>(cls", "<axis=2>(cls", cls=learned(NUMBER, 1)), "ClassToken",
         "Concat: axis is 2"),
        (VIT.having(pos=(BATCH, NUMBER + 1, DIM)), "PositionEmbedding",
         "positions differ from image to image"),
        (VIT.having(pos=(1, 1, DIM)), "PositionEmbedding", "not one per token"),
        (VIT.having(pos=(1, NUMBER + 1, 1)), "PositionEmbedding", "not one per token"),
        (VIT.but("Add(c, pos)", "Sub(c, pos)"), "ViTEmbeddings", ""),
        (VIT.but("y = Add(c, pos)", "s = Sin(c)  y = Add(s, pos)"), "ViTEmbeddings",
         "class_token (ClassToken) expected, found <Sin>"),
    ],
)  # fmt: skip
def test_no_embeddings_by_one_detail(tmp_path: Path, text: Text, kind: str, reason: str) -> None:
    output = next(name for name in "yct" if f"{name} = " in text.nodes)
    how = {"image": IMAGE, "outputs": output}
    assert not every(text.lifted(tmp_path, **how), kind)
    assert text.reason(tmp_path, kind, **how).startswith(reason)


def test_the_positions_of_patches_after_a_stem_stand_by_themselves(tmp_path: Path) -> None:
    stem = conv_silu("x", "s", 3, 3) + DEIT_3.but(
        "Conv<strides=[4,4]>(x,", "Conv<strides=[4,4]>(s,"
    )
    network = stem.lifted(tmp_path, image=IMAGE)
    assert [block.kind for block in network.blocks] == [
        "ConvBnAct", "PatchEmbedding", "PositionEmbedding", "ClassToken"
    ]  # fmt: skip
    assert stem.reason(tmp_path, "ViTEmbeddings", image=IMAGE) == (
        "patches alone have positions, and are not of an image"
    )
    whole = conv_silu("x", "s", 3, 3) + VIT.but("Conv<strides=[4,4]>(x,", "Conv<strides=[4,4]>(s,")
    assert only(whole.lifted(tmp_path, image=IMAGE), "ViTEmbeddings").prefix_tokens == 1


TOKENS = Text("t = Reshape(x, tokens)\n", {"tokens": [BATCH, NUMBER, DIM]})


@pytest.mark.parametrize("shape", [(DIM,), (1, DIM), (1, 1, DIM)])
def test_layer_scale(tmp_path: Path, shape: tuple[int, ...]) -> None:
    text = TOKENS + Text("y = Mul(t, gamma)", {"gamma": shape})
    block = only(text.lifted(tmp_path, image=VECTORS), "LayerScale")
    assert block.params == {}
    assert block.weights["kernel"].shape == (1, DIM, 1)


@pytest.mark.parametrize(
    ("nodes", "shape", "reason"),
    [
        ("y = Mul(t, gamma)", (), "it is not one factor per channel"),
        ("y = Mul(t, gamma)", (1,), "it is not one factor per channel"),
        ("y = Mul(t, gamma)", (NUMBER, 1), "it is not one factor per channel"),
        ("y = Mul(t, gamma)", (NUMBER, DIM), "it is not one factor per channel"),
        ("y = Mul(x, gamma)", (DIM,), "x has rank 4, not 3"),
        ("y = Add(t, gamma)", (DIM,), ""),
    ],
)
def test_no_layer_scale_by_one_detail(
    tmp_path: Path, nodes: str, shape: tuple[int, ...], reason: str
) -> None:
    text = TOKENS + Text(nodes, {"gamma": np.full(shape, 0.3) if shape == () else shape})
    assert not every(text.lifted(tmp_path, image=VECTORS), "LayerScale")
    assert text.reason(tmp_path, "LayerScale", image=VECTORS) == reason


@pytest.mark.parametrize(
    ("nodes", "shape", "reason"),
    [
        ("y = Mul(x, gamma)", (3, 1, 1), None),
        ("y = Mul(gamma, x)", (1, 3, 1, 1), None),
        ("y = Mul(x, gamma)", (1,), "it is not one factor per channel"),
        ("y = Mul(x, gamma)", (PATCH * GRID[1],), "it is not one factor per channel"),
        ("y = Mul(x, gamma)", (3, PATCH * GRID[0], 1), "it is not one factor per channel"),
        ("y = Mul(x, gamma)", (BATCH, 3, 1, 1), "it is not one factor per channel"),
        ("a = ReduceMean<keepdims=0>(x, last)  y = Mul(a, gamma)", (3, 1), "x has rank 3, not 4"),
    ],
)
def test_layer_scale_of_images(
    tmp_path: Path, nodes: str, shape: tuple[int, ...], reason: str | None
) -> None:
    factors = rng.uniform(0.5, 1, shape).astype(np.float32)
    text = Text(nodes, {"gamma": factors, "last": [3]})
    found = every(text.lifted(tmp_path, image=IMAGE), "ImageLayerScale")
    assert [block.weights["kernel"].ravel().tolist() for block in found] == (
        [] if reason else [factors.ravel().tolist()]
    )
    assert reason is None or text.reason(tmp_path, "ImageLayerScale", image=IMAGE) == reason


QUICK = Text("m = Mul(t, slope)  s = Sigmoid(m)  y = Mul(t, s)", {"slope": 1.702})


@pytest.mark.parametrize(
    ("text", "activation"),
    [
        (Text('y = Gelu<approximate="tanh">(t)'), "gelu_tanh"),
        (QUICK, "gelu_sigmoid"),
        (QUICK.but("Mul(t, slope)", "Mul(slope, t)").but("Mul(t, s)", "Mul(s, t)"), "gelu_sigmoid"),
    ],
)
def test_an_approximate_gelu(tmp_path: Path, text: Text, activation: str) -> None:
    network = (TOKENS + text).lifted(tmp_path, image=VECTORS)
    assert only(network, "ApproximateGelu").params == {"activation": activation}


@pytest.mark.parametrize(
    "text",
    [
        QUICK.having(slope=1.7),
        QUICK.but("Sigmoid(m)", "Tanh(m)"),
        QUICK.but("y = Mul(t, s)", "n = Neg(t)  y = Mul(n, s)"),
        Text("y = Gelu(t)"),
    ],
)
def test_no_approximate_gelu_by_one_detail(tmp_path: Path, text: Text) -> None:
    network = (TOKENS + text).lifted(tmp_path, image=VECTORS)
    assert not every(network, "ApproximateGelu")
