"""EfficientFormerV2: where its blocks hold, what looks like them, and a network converted."""

from pathlib import Path
from typing import Any

import pytest

import onnx2mvit
from onnx2mvit.builder.build import build
from onnx2mvit.exporter.torch_export import Request
from onnx2mvit.lifter import lift
from onnx2mvit.reader import read
from tests.support.networks import assert_tables_train_and_are_saved, exported
from tests.support.networks import converted as converted_in_blocks
from tests.support.texts import every
from tests.support.torch_efficientformerv2 import efficientformer_v2

pytestmark = pytest.mark.xdist_group("efficientformerv2")

SIZE = (12, 8)
KEPT, FOLDED = Request("legacy", 17, False, True), Request("legacy", 17, True, True)
HEADS = {"num_heads": 2, "key_dim": 4, "value_dim": 8}


@pytest.mark.parametrize("request_", [KEPT, FOLDED], ids=["kept", "folded"])
def test_its_blocks(tmp_path: Path, request_: Request) -> None:
    network = lift(read(exported(efficientformer_v2(), request_, tmp_path, SIZE)))
    found = [block.kind for block in network.blocks]
    blocks = ["EfficientFormerV2Block"] * 3
    assert found == ["ConvBnAct", *blocks, "AttentionDownsample", "BatchNorm", "TwoHeadClassifier"]
    _, plain, attending, strided, down, *_ = network.blocks
    assert "num_heads" not in plain.params and plain.mlp_ratio == 2
    assert attending.params.items() >= (HEADS | {"grid": (6, 4)}).items()
    assert strided.params.items() >= (HEADS | {"grid": (3, 2), "strided": True}).items()
    assert down.params.items() >= (HEADS | {"grid": (6, 4), "dim": 20}).items()
    mixed = [block.params.get("talking_heads") for block in every(network, "BiasedAttention")]
    assert mixed == [True, True, None]


@pytest.mark.parametrize(
    ("config", "lost"),
    [
        ({"silent": True}, ["num_heads", "strided"]),
        ({"small": True}, ["strided"]),
        ({"signed": True}, ["num_heads", "strided", "dim"]),
        ({"apart": True}, ["num_heads", "strided", "dim"]),
        ({"bare": True}, ["num_heads", "strided", "mlp_ratio"]),
    ],
    ids=["mixed before alone", "pixels repeated", "signed", "no locality", "not activated"],
)
def test_no_block_by_one_detail(tmp_path: Path, config: dict[str, Any], lost: list[str]) -> None:
    """What a detail is a part of is not found; the MLP of a block is one without attention."""
    network = lift(read(exported(efficientformer_v2(**config), KEPT, tmp_path, SIZE)))
    blocks = every(network, "EfficientFormerV2Block") + every(network, "AttentionDownsample")
    found = {name for block in blocks for name in block.params}
    assert not found & ({*lost} - {"num_heads"})
    attending = [block for block in blocks if {"mlp_ratio", "num_heads"} <= block.params.keys()]
    assert bool(attending) == ("num_heads" not in lost)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> onnx2mvit.Conversion:
    folder = tmp_path_factory.mktemp("efficientformerv2")
    return converted_in_blocks(exported(efficientformer_v2(), KEPT, folder, SIZE), folder)


@pytest.mark.slow
def test_it_trains_and_is_saved(converted: onnx2mvit.Conversion, tmp_path: Path) -> None:
    model = build(converted.folder, num_classes=3, dropout=0.1)
    assert_tables_train_and_are_saved(model, [(24, 2), (6, 2), (24, 2)], tmp_path)
