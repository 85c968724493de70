"""CoAtNet's blocks: where they hold, where not by one detail, and what they answer."""

from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from torch import nn

import onnx2mvit
from onnx2mvit.builder.build import build
from onnx2mvit.exporter.torch_export import Request
from onnx2mvit.lifter import lift
from onnx2mvit.reader import read
from tests.support.networks import converted as converted_in_blocks
from tests.support.networks import exported, tree
from tests.support.texts import every, nearest
from tests.support.torch_coatnet import CoAtNet, MBConv, Norm, Transformer
from tests.support.torch_mobilevit import randomize

pytestmark = pytest.mark.xdist_group("coatnet")

FOLDED, KEPT = Request("legacy", 17, True, True), Request("legacy", 17, False, True)
SIZE, SMALL = (64, 64), (16, 16)


def network(*blocks: nn.Module, size: tuple[int, int] = SIZE) -> nn.Module:
    model = CoAtNet(*blocks)
    model(torch.zeros(2, 3, *size))
    randomize(model, 0, size)
    for name, parameter in model.named_parameters():
        if "table" in name:
            nn.init.normal_(parameter)
    return model.eval()


def whole() -> nn.Module:
    return network(
        MBConv(16, 24, 2),
        MBConv(24, 24, 2, early=True),
        Transformer(24, 32, 4, 2),
        Transformer(32, 32, 4, fused=True),
    )


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> onnx2mvit.Conversion:
    folder = tmp_path_factory.mktemp("coatnet")
    return converted_in_blocks(exported(whole(), KEPT, folder, SIZE), folder)


def test_every_block_is_its_own(result: onnx2mvit.Conversion) -> None:
    kinds = ["ConvBnAct", *2 * ["PreNormMBConv"], *2 * ["RelativeTransformer"], "Classifier"]
    assert [block.kind for block in result.blocks] == kinds
    _, late, early, halved, last, _ = (block.params for block in result.blocks)
    assert late.items() >= {"filters": 24, "strides": 2, "squeeze": 4, "pooled": False}.items()
    assert early.items() >= {"strides": 2, "pooled": True, "early_squeeze": True}.items()
    assert halved.items() >= {"dim": 32, "num_heads": 3, "head_dim": 8, "strides": 2}.items()
    assert last["grid"] == (4, 4) and last["num_heads"] == 4


def test_the_tree_is_the_same_where_normalization_was_folded(
    result: onnx2mvit.Conversion, tmp_path: Path
) -> None:
    found = onnx2mvit.inspect(exported(whole(), FOLDED, tmp_path, SIZE))
    assert found.coverage.percent == 100
    assert tree(found.blocks) == tree(result.blocks)


def test_transformers_may_normalize_the_batch(tmp_path: Path) -> None:
    """As timm's coatnet_bn."""
    block = Transformer(16, 16, 4, 2, norm=(nn.BatchNorm2d, nn.BatchNorm2d))
    file = exported(network(block, size=SMALL), KEPT, tmp_path, SMALL)
    result = converted_in_blocks(file, tmp_path, nodes=20)
    _, halved, _ = result.blocks
    assert (halved.kind, halved.batch_norm, halved.strides) == ("RelativeTransformer", True, 2)


@pytest.mark.slow
def test_tables_are_learned_in_training(result: onnx2mvit.Conversion) -> None:
    model: Any = build(result.folder)
    tables = [weight for weight in model.trainable_weights if weight.path.endswith("embeddings")]
    before = [np.array(table) for table in tables]
    assert [table.shape for table in before] == [(49, 3), (49, 4)]
    model.compile(keras.optimizers.SGD(10.0), "mse")
    images = np.random.default_rng(0).uniform(size=(2, *SIZE, 3))
    model.fit(images, np.eye(2, 5), verbose=0)
    assert all((old != np.array(new)).any() for old, new in zip(before, tables, strict=True))


@pytest.mark.slow
def test_it_runs_as_litert(result: onnx2mvit.Conversion, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    assert onnx2mvit.deploy(result.folder, tmp_path, inputs=2).passed


@pytest.mark.parametrize(
    ("kind", "block", "reason"),
    [
        ("PreNormMBConv", MBConv(16, 16, wrong="normed"), "expected, found <ConvBnAct>"),
        ("RelativeAttention", Transformer(16, 16, 8, wrong="scale"), "is not 1/sqrt(d)"),
        (
            "RelativeTransformer",
            Transformer(16, 16, 8, norm=(partial(nn.BatchNorm2d, eps=1e-6), Norm)),
            "it normalizes in two ways",
        ),
    ],
)
def test_no_such_block_by_one_detail(
    kind: str, block: nn.Module, reason: str, tmp_path: Path
) -> None:
    graph = read(exported(network(block, size=SMALL), FOLDED, tmp_path, SMALL))
    assert not every(lift(graph), kind)
    assert reason in nearest(graph, kind)
