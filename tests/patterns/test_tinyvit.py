"""TinyViT: where its blocks hold, what looks like them, and a network converted."""

from pathlib import Path
from typing import Any

import pytest

import onnx2mvit
from onnx2mvit.builder.build import build
from onnx2mvit.exporter.torch_export import Request
from onnx2mvit.lifter import lift
from onnx2mvit.reader import read
from tests.patterns.test_pattern_swin import reasons
from tests.support.networks import (
    assert_answers_alike,
    assert_tables_train_and_are_saved,
    exported,
)
from tests.support.networks import converted as converted_in_blocks
from tests.support.texts import every, kinds
from tests.support.torch_tinyvit import tiny_vit

pytestmark = pytest.mark.xdist_group("tinyvit")

KEPT, FOLDED = Request("legacy", 17, False, True), Request("legacy", 17, True, True)
TREE = [
    *["ConvBnAct"] * 2, "ActivatedMBConv", "InvertedResidual", "TinyViTStage", "Classifier",
]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "size", "request_"),
    [
        ({}, (64, 64), KEPT),
        ({}, (64, 64), FOLDED),
        ({"window": 8}, (64, 64), KEPT),
        ({}, (72, 48), KEPT),
    ],
    ids=["four windows", "folded", "one window", "filled up"],
)
def test_its_blocks(
    tmp_path: Path, config: dict[str, Any], size: tuple[int, int], request_: Request
) -> None:
    network = lift(read(exported(tiny_vit(**config), request_, tmp_path, size)))
    assert [block.kind for block in network.blocks] == TREE
    (stage,) = every(network, "TinyViTStage")
    window = config.get("window", 4)
    assert (stage.depth, stage.num_heads, stage.window_size, stage.mlp_ratio) == (2, 2, window, 2)
    for bias in every(network, "ScoreBias"):
        assert bias.params == {"grid": (window, window), "absolute": True}
    assert "pairwise" not in stage.params
    assert stage.params["batch_norm"] == (request_ is KEPT)


def test_any_numbers_are_learned_for_each_pair(tmp_path: Path) -> None:
    network = lift(read(exported(tiny_vit(wrong=0.5), KEPT, tmp_path, (64, 64))))
    (stage,) = every(network, "TinyViTStage")
    assert stage.params["pairwise"] and every(network, "ScoreBias")[0].params == {}


@pytest.mark.parametrize(
    ("config", "kind", "reason"),
    [
        ({"signed": True}, "TinyViTBlock", "its bias goes by the signs of offsets"),
        ({"before": True}, "TinyViTBlock", "it is padded otherwise"),
        ({"fill": 1.0}, "TinyViTBlock", "it is padded otherwise"),
        ({"local": True}, "TinyViTBlock",
         "local_conv (ConvBnAct): activation is 'gelu', not None"),
        ({"bare": True}, "ActivatedMBConv", "ActivatedMBConv"),
    ],
    ids=["signed", "filled up before", "filled up with ones", "activated", "no activation"],
)  # fmt: skip
def test_no_block_by_one_detail(
    tmp_path: Path, config: dict[str, Any], kind: str, reason: str
) -> None:
    network = lift(read(exported(tiny_vit(**config), KEPT, tmp_path, (72, 48))))
    assert kind not in kinds(network)
    assert kind == reason or reason in reasons(network, kind)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> onnx2mvit.Conversion:
    folder = tmp_path_factory.mktemp("tinyvit")
    return converted_in_blocks(exported(tiny_vit(), KEPT, folder, (72, 48)), folder)


def test_other_sizes_fill_up_their_windows_as_in_torch(converted: onnx2mvit.Conversion) -> None:
    model = build(converted.folder, input_shape=(64, 104, 3))
    assert_answers_alike(model, tiny_vit(), (64, 104))


@pytest.mark.slow
def test_it_trains_and_is_saved(converted: onnx2mvit.Conversion, tmp_path: Path) -> None:
    model = build(converted.folder, input_shape=(32, 32, 3), num_classes=3, dropout=0.1)
    assert_tables_train_and_are_saved(model, [(16, 2), (16, 2)], tmp_path)
