"""Unfold, fold and the MobileViT block, and what looks like them."""

from pathlib import Path

import pytest

from tests.support.texts import (
    BATCH,
    DIM,
    PATCH,
    PATCHES,
    SIZE,
    TOKENS,
    Text,
    every,
    fold,
    kinds,
    mobilevit,
    only,
    unfold,
)

SIDE = SIZE // PATCH
PIXELS = f"float[{TOKENS[0]},1,{TOKENS[1]},{TOKENS[2]}]"
FOLD = Text("t = Reshape(x, tokens)  s = Sin(t)\n", {"tokens": TOKENS}) + fold("s", "y")
UNFOLD = unfold("x", "y")
BLOCK = mobilevit()
FUSION = "both = Concat<axis=1>(x, project)\n"


def without_fusion(text: Text) -> Text:
    """The block up to the projection, which is `y`."""
    nodes = text.nodes[: text.nodes.index(FUSION)]
    return Text(nodes + "y = Identity(project)\n", text.weights)


def test_unfold(tmp_path: Path) -> None:
    network = UNFOLD.lifted(tmp_path)
    assert only(network, "Unfold").params == {"patch_size": PATCH}
    assert not network.unrecognised


def test_unfold_of_an_image_that_is_not_square(tmp_path: Path) -> None:
    wide = {"u_rows": [2 * 8 * 2, 4, 3, 4], "u_patches": [2, 8, 6, 16], "u_tokens": [32, 6, 8]}
    text = Text(UNFOLD.nodes, wide)
    assert only(text.lifted(tmp_path, image="float[2,8,8,12]"), "Unfold").patch_size == 4


OTHERWISE = "its axes are not moved as in"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        # patches 2×4, and 4×2
        (UNFOLD.having(u_rows=[BATCH * DIM * 4, 2, 2, 4], u_patches=[BATCH, DIM, 8, 8],
                      u_tokens=[BATCH * 8, 8, DIM]), "the patch_size of its axis q is 4, not 2 as"),
        (UNFOLD.having(u_rows=[BATCH * DIM * 2, 4, 4, 2], u_patches=[BATCH, DIM, 8, 8],
                      u_tokens=[BATCH * 8, 8, DIM]), "the patch_size of its axis q is 2, not 4 as"),
        # the pixels of a patch column by column
        (UNFOLD.but("[0,2,1,3]>(u1)", "[0,2,3,1]>(u1)"), OTHERWISE),
        # the patches column by column
        (UNFOLD.but("[0,2,1,3]>(u1)", "[2,0,1,3]>(u1)"), OTHERWISE),
        # neighbours are in different patches
        (UNFOLD.having(u_rows=[BATCH * DIM * PATCH, SIDE, PATCH, SIDE]), OTHERWISE),
        (UNFOLD.having(u_patches=[BATCH, DIM, PATCH * PATCH, PATCHES]), OTHERWISE),
        # one sequence for each patch, or one for each image
        (UNFOLD.but("[0,3,2,1]>(u3)", "[0,2,3,1]>(u3)"), OTHERWISE),
        (UNFOLD.having(u_tokens=[BATCH, PATCH * PATCH * PATCHES, DIM]), OTHERWISE),
        (UNFOLD.having(u_tokens=[BATCH * PATCHES, PATCH * PATCH, DIM]), OTHERWISE),
    ],
)  # fmt: skip
def test_no_unfold_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    assert not kinds(text.lifted(tmp_path))
    assert text.reason(tmp_path, "Unfold").startswith(reason)


def test_fold(tmp_path: Path) -> None:
    network = FOLD.lifted(tmp_path, image=PIXELS)
    assert only(network, "Fold").params == {"patch_size": PATCH}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (FOLD.having(f_rows=[BATCH * DIM * 2, 4, 4, 2]), OTHERWISE),
        (FOLD.but("[0,2,1,3]>(f3)", "[0,2,3,1]>(f3)"), OTHERWISE),
        (FOLD.but("[0,3,2,1]>(f1)", "[0,3,1,2]>(f1)"), OTHERWISE),
        (FOLD.having(f_patches=[BATCH, PATCHES, PATCH * PATCH, DIM]), OTHERWISE),
        (FOLD.having(f_rows=[BATCH * DIM * PATCH, PATCH, SIDE, SIDE]), OTHERWISE),
        (FOLD.having(f_image=[BATCH * 2, DIM // 2, SIZE, SIZE]), OTHERWISE),
    ],
)  # fmt: skip
def test_no_fold_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    assert not kinds(text.lifted(tmp_path, image=PIXELS))
    assert text.reason(tmp_path, "Fold", image=PIXELS).startswith(reason)


@pytest.mark.parametrize(
    ("text", "image"),
    [
        (Text("r = Reshape(x, rows)  s = Sin(r)\n", {"rows": [BATCH * DIM, SIZE * SIZE]})
         + unfold("s", "y"), f"float[{BATCH},{DIM},{SIZE},{SIZE}]"),
        (Text(FOLD.nodes, FOLD.weights | {"f_image": [BATCH, DIM, SIZE * SIZE]}), PIXELS),
    ],
    ids=["unfold", "fold"],
)  # fmt: skip
def test_what_is_no_image_is_left_alone(tmp_path: Path, text: Text, image: str) -> None:
    assert not kinds(text.lifted(tmp_path, image=image))


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("fusion", [True, False])
def test_a_mobilevit_block(tmp_path: Path, depth: int, fusion: bool) -> None:
    text = mobilevit(depth) if fusion else without_fusion(mobilevit(depth))
    network = text.lifted(tmp_path)
    assert [block.kind for block in network.blocks] == ["MobileViTBlock"]
    assert network.blocks[0].params == {
        "filters": 8, "dim": DIM, "depth": depth, "num_heads": 2, "patch_size": PATCH,
        "mlp_ratio": 2, "kernel_size": 3, "fusion": fusion, "attention_bias": True,
        "epsilon": 1e-5, "activation": "silu", "padding": None,
        "batch_norm": False, "use_bias": True,
    }  # fmt: skip
    layers = [f"layer.{index}" for index in range(depth)]
    roles = ["local", "local_1x1", "unfold", *layers, "norm", "fold", "project"]
    assert [child.role for child in network.blocks[0].children] == roles + ["fusion"] * fusion
    assert not network.unrecognised


ONE_HEAD = (
    BLOCK.but("Reshape(b_q, b_split)", "Reshape(b_q, one)")
    .but("Reshape(b_k, b_split)", "Reshape(b_k, one)")
    .but("Reshape(b_v, b_split)", "Reshape(b_v, one)", one=[*TOKENS[:2], 1, DIM])
    .but("Div(b_scores, b_root)", "Div(b_scores, root)", root=DIM**0.5)
)
WIDER = BLOCK.having(b_in_w=(DIM, 32), b_in_b=(32,), b_out_w=(32, DIM))
SWAPPED = BLOCK.but("(x, project)", "(project, x)")
LOCAL = "local_c = Conv<pads=[1,1,1,1], group=1 >"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (ONE_HEAD, "layer has num_heads 2, not 1"),
        (WIDER, "layer has mlp_ratio 2, not 4"),
        (BLOCK.but("normed = LayerNormalization<axis=-1>",
                   "normed = LayerNormalization<axis=-1, epsilon=0.001>"),
         "layer has epsilon 1e-05, norm has 0.001"),
        (BLOCK.but("Mul(local_c, local_s)", "Relu(local_c)"),
         "local has activation 'relu', fusion has 'silu'"),
        (BLOCK.but("(local, narrow_w)", "(local, narrow_w, narrow_b)", narrow_b=(DIM,)),
         "local_1x1 (ConvBnAct): use_bias is True, not False"),
        (BLOCK.but("[0,3,2,1]>(u3)", "[0,2,3,1]>(u3)", u_patches=[BATCH, DIM, 16, 4]),
         "unfold (Unfold) expected, found <Reshape>"),
        (BLOCK.but("Reshape(normed,", "Reshape(t2,"), "norm (LayerNorm) expected, found"),
    ],
)  # fmt: skip
def test_no_mobilevit_block_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    network = text.lifted(tmp_path)
    assert not every(network, "MobileViTBlock") and network.unrecognised
    assert text.reason(tmp_path, "MobileViTBlock").startswith(reason)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        # The kernel of fusion expects the input before the projection.
        (SWAPPED, "project (ConvBnAct) expected, but <x [2, 8, 8, 8]> is an input"),
        (Text("other = Sin(x)\n") + BLOCK.but("(x, project)", "(other, project)"),
         "x is another value than before"),
        (BLOCK.but("y_c = Conv<pads=[1,1,1,1]", "y_c = Conv<pads=[2,2,2,2]", y_c_w=(8, 16, 5, 5)),
         "local has kernel_size 3, fusion has 5"),
        (BLOCK.having(y_c_w=(12, 16, 3, 3), y_c_b=(12,)),
         "project has filters 8, fusion has 12"),
        (BLOCK.but("Mul(y_c, y_s)", "Relu(y_c)"),
         "project has activation 'silu', fusion has 'relu'"),
    ],
    ids=["swapped", "of something else", "other kernel", "other filters", "other activation"],
)  # fmt: skip
def test_a_fusion_that_is_none_stays_outside(tmp_path: Path, text: Text, reason: str) -> None:
    network = text.lifted(tmp_path)
    assert only(network, "MobileViTBlock").fusion is False
    assert "Concat" in [node.op for node in network.unrecognised]
    assert text.reason(tmp_path, "MobileViTBlock").startswith(reason)


@pytest.mark.parametrize("inner", ["t0", "t1", "t2", "normed", "narrow", "image"])
def test_no_mobilevit_block_around_an_output_of_the_graph(tmp_path: Path, inner: str) -> None:
    network = BLOCK.lifted(tmp_path, outputs=f"y {inner}")
    assert not every(network, "MobileViTBlock")
    reason = BLOCK.reason(tmp_path, "MobileViTBlock", outputs=f"y {inner}")
    assert reason == f"its inner value {inner!r} is an output of the graph"


def test_the_projection_is_an_output_of_a_shorter_block(tmp_path: Path) -> None:
    network = BLOCK.lifted(tmp_path, outputs="y project")
    assert only(network, "MobileViTBlock").fusion is False


def test_a_block_that_folds_to_another_size_is_none(tmp_path: Path) -> None:
    flat = {"f_rows": [BATCH * DIM, 4, PATCH, PATCH], "f_image": [BATCH, DIM, 4, 16]}
    text = without_fusion(Text(BLOCK.nodes, BLOCK.weights | flat))
    network = text.lifted(tmp_path)
    assert {"Unfold", "Fold"} <= kinds(network) and not every(network, "MobileViTBlock")
    assert text.reason(tmp_path, "MobileViTBlock") == "it folds to another size"


@pytest.mark.parametrize(
    "text",
    [
        without_fusion(
            BLOCK.but(LOCAL, "local_c = Conv<pads=[2,2,2,2], dilations=[2,2], group=1>")
        ),
        without_fusion(BLOCK.but("narrow = Conv<", "narrow = Conv<strides=[2,2],")),
        without_fusion(BLOCK.having(local_c_w=(12, 8, 3, 3),
                                 local_c_b=(12,), narrow_w=(DIM, 12, 1, 1))),
        without_fusion(BLOCK.but("narrow = Conv<pads=[0,0,0,0], group=1",
                                 "narrow = Conv<pads=[0,0,0,0], group=2", narrow_w=(DIM, 4, 1, 1))),
    ],
    ids=["dilated", "strides of the 1×1", "local has other filters", "1×1 in groups"],
)  # fmt: skip
def test_no_block_that_would_be_built_otherwise(tmp_path: Path, text: Text) -> None:
    size = 2 * SIZE if "strides" in text.nodes else SIZE
    network = text.lifted(tmp_path, image=f"float[{BATCH},8,{size},{size}]")
    assert not every(network, "MobileViTBlock")
