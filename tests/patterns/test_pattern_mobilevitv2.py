"""The blocks of MobileViTv2, and what looks like them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onnx2mvit.errors import InvalidModelError
from onnx2mvit.ir.network import Network
from tests.support.texts import Text, kinds, only
from tests.support.texts_v2 import (
    BATCH,
    DIM,
    IMAGE,
    NARROW,
    PATCH,
    PATCHED,
    SIDE,
    SIZE,
    col2im,
    cut_and_unfold,
    fold,
    group_norm,
    layer,
    mobilevitv2,
    separable,
    unfold,
)

OPSET = 21
UNFOLD, FOLD, COL2IM = unfold("x", "y"), fold("x", "y"), col2im("x", "y")
ATTENTION, LAYER, BLOCK = separable("x", "y"), layer("x", "y"), mobilevitv2()


def rewritten(text: Text, folder: Path, image: str) -> Network:
    return text.lifted(folder, image=image, opset=OPSET)


def reason(text: Text, folder: Path, kind: str, image: str) -> str:
    return text.reason(folder, kind, image=image, opset=OPSET)


def test_a_group_norm(tmp_path: Path) -> None:
    text = group_norm("x", "y").but("num_groups=1", "num_groups=3, epsilon=0.01")
    leaf = only(rewritten(text, tmp_path, NARROW), "GroupNorm")
    assert leaf.params == {"groups": 3, "epsilon": 0.01}
    assert set(leaf.weights) == {"gamma", "beta"}


def test_a_group_norm_of_tokens_is_none_of_channels_in_keras(tmp_path: Path) -> None:
    text = Text("t = Reshape(x, s)\n", {"s": [BATCH, DIM, SIZE**2]}) + group_norm("t", "y")
    assert "GroupNorm" not in kinds(rewritten(text, tmp_path, NARROW))


def test_unfold(tmp_path: Path) -> None:
    assert only(rewritten(UNFOLD, tmp_path, NARROW), "UnfoldPatches").params == {"patch_size": 2}


def test_it_does_not_matter_how_unfold_is_cut_into_nodes(tmp_path: Path) -> None:
    text = UNFOLD.having(u_apart=[DIM, BATCH, SIDE, 2, SIDE, 2])
    assert only(rewritten(text, tmp_path, NARROW), "UnfoldPatches").params == {"patch_size": 2}


def test_unfold_leaves_out_what_no_patch_covers(tmp_path: Path) -> None:
    image = f"float[{BATCH},{DIM},{SIZE + 1},{SIZE}]"
    network = rewritten(cut_and_unfold("x", "y"), tmp_path, image)
    assert only(network, "UnfoldPatches").inputs == tuple(network.graph.inputs)


ORDERED = "its axes are not moved as in"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (UNFOLD.having(u_apart=[BATCH, DIM, SIDE, 2, 2, SIDE]), ORDERED),
        (UNFOLD.having(u_apart=[BATCH, DIM, 16, 2, 1, 2]), ORDERED),
        (UNFOLD.having(u_patches=[BATCH, DIM, SIDE**2, PATCH**2]), ORDERED),
        # pixel_unshuffle
        (UNFOLD.having(u_patches=[BATCH, DIM * PATCH**2, SIDE, SIDE]), ORDERED),
        (UNFOLD.but("[0,1,3,5,2,4]", "[0,1,5,3,2,4]"), ORDERED),
        (UNFOLD.but("[0,1,3,5,2,4]", "[0,1,3,5,4,2]"), ORDERED),
    ],
)  # fmt: skip
def test_no_unfold_by_one_detail(tmp_path: Path, text: Text, complaint: str) -> None:
    assert not kinds(rewritten(text, tmp_path, NARROW))
    assert reason(text, tmp_path, "UnfoldPatches", NARROW).startswith(complaint)


@pytest.mark.parametrize(
    ("text", "zeros"),
    [
        (FOLD, False),
        (FOLD.having(f_apart=[BATCH, DIM, 2, 2, 8, 2], f_image=[BATCH, DIM, 16, 4]), False),
        (COL2IM, True),
        (col2im("x", "y", 1), True),
    ],
)
def test_fold(tmp_path: Path, text: Text, zeros: bool) -> None:
    leaf = only(rewritten(text, tmp_path, PATCHED), "FoldPatches")
    assert leaf.params == {"patch_size": PATCH, "zeros": zeros}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (FOLD.having(f_apart=[BATCH, DIM, 4, 1, SIDE, SIDE]), ORDERED),
        (FOLD.having(f_apart=[BATCH, DIM, SIDE, SIDE, 2, 2]), ORDERED),
        (FOLD.having(f_image=[BATCH, DIM, 4, 16]), ORDERED),
        (FOLD.having(f_image=[DIM, BATCH, SIZE, SIZE]), ORDERED),
        (FOLD.but("[0,1,4,2,5,3]", "[0,1,4,3,5,2]"), ORDERED),
        (COL2IM.but("strides=[2,2]", "strides=[1,1]").having(f_size=[5, 5]),
         "patches of 2 step (1, 1)"),
        (COL2IM.but("pads=[0,0,0,0]", "pads=[1,1,1,1]").having(f_size=[6, 6]),
         "Rearrange expected, found <Col2Im>"),
        (COL2IM.having(f_columns=[BATCH * DIM, 4, SIDE**2]), ORDERED),
    ],
)  # fmt: skip
def test_no_fold_by_one_detail(tmp_path: Path, text: Text, complaint: str) -> None:
    assert not kinds(rewritten(text, tmp_path, PATCHED))
    assert reason(text, tmp_path, "FoldPatches", PATCHED).startswith(complaint)


def test_separable_self_attention(tmp_path: Path) -> None:
    network = rewritten(ATTENTION, tmp_path, PATCHED)
    assert [block.kind for block in network.blocks] == ["SeparableSelfAttention"]
    assert network.blocks[0].params == {"use_bias": True}
    roles = [child.role for child in network.blocks[0].children]
    assert sorted(roles) == ["act", "out", "qkv"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (ATTENTION.having(qkv_w=(11, DIM, 1, 1), qkv_b=(11,), parts=[1, 5, 5], y_w=(DIM, 5, 1, 1)),
         "qkv has 11 filters, not 1 + 2·6"),
        (ATTENTION.but("q, k, v = Split", "k, v, q = Split").having(parts=[DIM, DIM, 1]),
         "query, key and value are ordered otherwise"),
        (ATTENTION.but("q, k, v = Split", "q, v, k = Split"),
         "query, key and value are ordered otherwise"),
        (ATTENTION.having(y_w=(DIM + 1, DIM, 1, 1), y_b=(DIM + 1,)), "it makes 7 channels of 6"),
        (ATTENTION.but("axis=-1", "axis=2"), "Softmax: axis is 2, not -1"),
        (ATTENTION.having(last=[2]), "ReduceSum: axes is (2,), not (3,)"),
        (ATTENTION.but("Relu", "Tanh"), "act (Activation): activation is 'tanh', not 'relu'"),
        (ATTENTION.but("Mul(act, context)", "Mul(v, context)"), "act (Activation) expected, found"),
        (ATTENTION.but("Mul(act, context)", "Mul(act, weighted)"), "ReduceSum expected, found"),
        (ATTENTION.but("Softmax<axis=-1>(q)", "Softmax<axis=-1>(x)"), "query (Slice) expected"),
    ],
)  # fmt: skip
def test_no_separable_attention_by_one_detail(tmp_path: Path, text: Text, complaint: str) -> None:
    assert "SeparableSelfAttention" not in kinds(rewritten(text, tmp_path, PATCHED))
    assert reason(text, tmp_path, "SeparableSelfAttention", PATCHED).startswith(complaint)


def test_a_transformer_layer(tmp_path: Path) -> None:
    network = rewritten(LAYER, tmp_path, PATCHED)
    assert [block.kind for block in network.blocks] == ["SeparableTransformerLayer"]
    assert network.blocks[0].params == {
        "mlp_ratio": 2, "activation": "silu", "use_bias": True, "epsilon": 1e-5,
    }  # fmt: skip


GROUPS = "before = GroupNormalization<num_groups=1"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (LAYER.but(GROUPS, f"{GROUPS[:-1]}2"), "norm_before (GroupNorm): groups is 2, not 1"),
        (LAYER.but(GROUPS, f"{GROUPS}, epsilon=0.1"), "norm_before has epsilon 0.1, norm_after"),
        (LAYER.but("Add(x, attended)", "Add(before, attended)"), "x is another value than before"),
        (LAYER.but("Add(middle, out)", "Add(x, out)"), "attention (SeparableSelfAttention) exp"),
        (LAYER.but("silu_s = Sigmoid(in)  silu = Mul(in, silu_s)", "silu = Identity(in)"),
         "mlp_in (ConvBnAct): activation is None"),
        (LAYER.but(", out_b)", ")"), "mlp_in has use_bias True, mlp_out has False"),
    ],
)  # fmt: skip
def test_no_transformer_layer_by_one_detail(tmp_path: Path, text: Text, complaint: str) -> None:
    assert "SeparableTransformerLayer" not in kinds(rewritten(text, tmp_path, PATCHED))
    assert reason(text, tmp_path, "SeparableTransformerLayer", PATCHED).startswith(complaint)


USUAL: dict[str, Any] = {
    "filters": 8, "dim": DIM, "depth": 2, "patch_size": PATCH, "mlp_ratio": 2, "kernel_size": 3,
    "dilation": 1, "stretch": True, "activation": "silu", "transformer_bias": True,
    "epsilon": 1e-5, "padding": None, "batch_norm": False, "use_bias": True,
}  # fmt: skip


@pytest.mark.parametrize("depth", [1, 3])
def test_a_mobilevitv2_block(tmp_path: Path, depth: int) -> None:
    network = rewritten(mobilevitv2(depth=depth), tmp_path, IMAGE)
    assert [block.kind for block in network.blocks] == ["MobileViTV2Block"]
    assert network.blocks[0].params == USUAL | {"depth": depth}


STRETCH = Text(
    """s = Resize<mode="linear", coordinate_transformation_mode="align_corners">(x, , , sizes)\n""",
    {"sizes": [BATCH, 8, SIZE, SIZE]},
)
UNEVEN, TALLER = (f"float[{BATCH},8,{SIZE + more},{SIZE}]" for more in (-1, 1))


@pytest.mark.parametrize("folded", [fold, col2im])
def test_a_block_may_stretch_its_input(tmp_path: Path, folded: Callable[[str, str], Text]) -> None:
    network = rewritten(STRETCH + mobilevitv2("s", folded=folded), tmp_path, UNEVEN)
    assert [block.kind for block in network.blocks] == ["MobileViTV2Block"]
    assert network.blocks[0].params == USUAL


def test_a_block_that_folds_by_col2im_leaves_zeros_where_no_patch_is(tmp_path: Path) -> None:
    network = rewritten(mobilevitv2(folded=col2im), tmp_path, IMAGE)
    assert network.blocks[0].params == USUAL | {"stretch": False}
    text = mobilevitv2(unfolded=cut_and_unfold, folded=lambda x, y: col2im(x, y, 1))
    network = rewritten(text, tmp_path, TALLER)
    assert network.blocks[0].params == USUAL | {"stretch": False}


def test_where_a_network_stretches_once_it_always_does(tmp_path: Path) -> None:
    text = STRETCH.having(sizes=[BATCH, 8, 9, 9]) + mobilevitv2(folded=col2im)
    network = text.lifted(tmp_path, image=IMAGE, opset=OPSET, outputs="y s")
    assert only(network, "MobileViTV2Block").params == USUAL


@pytest.mark.parametrize(
    ("size", "text"),
    [
        ("7,8", STRETCH.having(sizes=[BATCH, 8, 16, 8]) + mobilevitv2("s")),
        ("8,8", STRETCH.having(sizes=[BATCH, 8, 6, 8]) + mobilevitv2("s")),
    ],
)
def test_another_resize_is_no_stretch(tmp_path: Path, size: str, text: Text) -> None:
    """Its patches are not those of the block, whose shapes contradict it."""
    with pytest.raises(InvalidModelError, match=r"\(Reshape\) makes 768 numbers of"):
        rewritten(text, tmp_path, f"float[{BATCH},8,{size}]")


def test_without_any_bias_it_is_still_no_inverted_residual(tmp_path: Path) -> None:
    network = rewritten(mobilevitv2(bias=False), tmp_path, IMAGE)
    assert network.blocks[0].params == USUAL | {"use_bias": False}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (BLOCK.but("group=8", "group=4").having(local_c_w=(8, 2, 3, 3)),
         "local (ConvBnAct): depthwise is False"),
        (BLOCK.but("normed = GroupNormalization<num_groups=1>",
            "normed = GroupNormalization<num_groups=1, epsilon=0.1>"),
         "layer has epsilon 1e-05, norm has 0.1"),
        (BLOCK.but("local_s = Sigmoid(local_c)  local = Mul(local_c, local_s)",
                   "local = Relu(local_c)"), "local has activation 'relu', layer has 'silu'"),
        (BLOCK.but("b_before = GroupNormalization<num_groups=1>",
                   "b_before = GroupNormalization<num_groups=2>"), "layer (SeparableTransformerL"),
        (BLOCK.but("y = Conv", "y_c = Conv") + Text("y = Relu(y_c)"), "fold (FoldPatches) exp"),
        (BLOCK.having(f_apart=[BATCH, DIM, 1, 1, SIZE, SIZE]), "fold (FoldPatches) expected"),
    ],
)  # fmt: skip
def test_no_block_by_one_detail(tmp_path: Path, text: Text, complaint: str) -> None:
    assert "MobileViTV2Block" not in kinds(rewritten(text, tmp_path, IMAGE))
    assert reason(text, tmp_path, "MobileViTV2Block", IMAGE).startswith(complaint)
