"""EfficientViT of MSRA: where its blocks hold, what looks like them, and a network converted."""

from pathlib import Path
from typing import Any

import pytest

from onnx2mvit.builder.build import build
from onnx2mvit.exporter.torch_export import Request
from onnx2mvit.lifter import lift
from onnx2mvit.reader import read
from tests.patterns.test_pattern_swin import reasons
from tests.support.networks import assert_answers_alike, exported
from tests.support.networks import converted as converted_in_blocks
from tests.support.texts import every, kinds
from tests.support.torch_efficientvit_msra import efficientvit

pytestmark = pytest.mark.xdist_group("efficientvit_msra")

KEPT, FOLDED = Request("legacy", 17, False, True), Request("legacy", 17, True, True)
TREE = ["ConvBnAct", "SandwichBlock", "SandwichLayer", "Classifier"]
FILLED = (14, 8)  # 7×4 pixels in windows of 3×3


@pytest.mark.parametrize(
    ("config", "size", "request_"),
    [
        ({}, (6, 6), KEPT),
        ({}, (12, 6), FOLDED),
        ({}, FILLED, KEPT),
        ({"kernels": (7, 5, 3)}, FILLED, FOLDED),
    ],
    ids=["one window", "two windows, folded", "filled up", "three heads, folded"],
)
def test_its_blocks(
    tmp_path: Path, config: dict[str, Any], size: tuple[int, int], request_: Request
) -> None:
    network = lift(read(exported(efficientvit(**config), request_, tmp_path, size)))
    assert [block.kind for block in network.blocks] == TREE
    block = network.blocks[1]
    kernels = config.get("kernels", (5, 3))
    assert (block.kernels, block.key_dim, block.value_dim) == (kernels, 4, 12 // len(kernels))
    assert (block.window_size, block.expansion, block.kernel_size) == (3, 2, 3)
    biases = [bias.params for bias in every(network, "HeadBias")]
    assert biases == [{"grid": (3, 3), "absolute": True}] * len(kernels)
    assert block.batch_norm == (request_ is KEPT)


def test_any_numbers_are_learned_for_each_pair(tmp_path: Path) -> None:
    network = lift(read(exported(efficientvit(wrong=0.5), KEPT, tmp_path, FILLED)))
    assert network.blocks[1].pairwise
    assert all(bias.params == {} for bias in every(network, "HeadBias"))


@pytest.mark.parametrize(
    ("config", "kind", "reason"),
    [
        ({"signed": True}, "CascadedHead", "its bias goes by the signs of offsets"),
        ({"apart": True}, "CascadedGroupAttention", ""),
        ({"bare": True}, "SandwichLayer", "it has no activation"),
        ({"zero": 1.0}, "CascadedGroupAttention", "it is padded otherwise"),
    ],
    ids=["signed", "no cascade", "no activation", "filled up with ones"],
)
def test_no_block_by_one_detail(
    tmp_path: Path, config: dict[str, Any], kind: str, reason: str
) -> None:
    network = lift(read(exported(efficientvit(**config), KEPT, tmp_path, FILLED)))
    assert "SandwichBlock" not in kinds(network)
    assert any(reason in given for given in reasons(network, kind))


def test_other_sizes_fill_up_their_windows_as_in_torch(tmp_path: Path) -> None:
    result = converted_in_blocks(exported(efficientvit(), KEPT, tmp_path, FILLED), tmp_path)
    model = build(result.folder, input_shape=(38, 32, 3))
    assert_answers_alike(model, efficientvit(), (38, 32))
