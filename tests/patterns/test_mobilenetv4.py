"""MobileNetV4's blocks: where they hold, where not by one detail, and what they answer."""

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
from tests.support.networks import assert_answers_alike, exported, tree
from tests.support.networks import converted as converted_in_blocks
from tests.support.texts import every, nearest
from tests.support.torch_mobilenetv4 import Attention, Bottleneck, MobileNetV4
from tests.support.torch_mobilevit import randomize

pytestmark = pytest.mark.xdist_group("mobilenetv4")

LEGACY, KEPT = Request("legacy", 17, True, True), Request("legacy", 17, False, True)
SIZE = (40, 48)


def network(*blocks: nn.Module) -> nn.Module:
    model = MobileNetV4(*blocks)
    model(torch.zeros(2, 3, *SIZE))
    randomize(model, 0, SIZE)
    for name, parameter in model.named_parameters():
        if "gamma" in name:
            nn.init.uniform_(parameter, 0.3, 0.9)
    return model.eval()


def hybrid() -> nn.Module:
    return network(
        Bottleneck(16, 24, 3, 5, 2),
        Attention(24),
        Bottleneck(24, 24, 0, 0),
        Attention(24, heads=3, strides=(0, 0)),
        Bottleneck(24, 32, 5, 0, 2, scaled=False),
    )


NO_SUM = "(ImageLayerScale) expected, but <const logits/bias [7]> is an input or a constant"
UIB, FFN, MQA = "UniversalInvertedBottleneck", "UniversalFeedForward", "MobileMQA"
KINDS = ["ConvBnAct", UIB, MQA, FFN, MQA, UIB, "Classifier"]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> onnx2mvit.Conversion:
    folder = tmp_path_factory.mktemp("mobilenetv4")
    return converted_in_blocks(exported(hybrid(), KEPT, folder, SIZE), folder)


def test_every_block_is_its_own(result: onnx2mvit.Conversion) -> None:
    assert [block.kind for block in result.blocks] == KINDS
    first, attention, _, without, last = (block.params for block in result.blocks[1:-1])
    extra = {"filters": 24, "expansion": 2, "start_kernel": 3, "middle_kernel": 5, "strides": 2}
    assert first.items() >= (extra | {"layer_scale": True, "activation": "relu"}).items()
    down = {"num_heads": 2, "key_dim": 8, "kv_kernel": 3, "kv_strides": 2, "layer_scale": True}
    assert attention.items() >= down.items()
    assert without["num_heads"] == 3 and "kv_kernel" not in without
    assert last["start_kernel"] == 5 and last["strides"] == 2
    assert "middle_kernel" not in last and not last["layer_scale"]
    names = {child.role: child.name for child in result.blocks[2].children}
    assert names["key_down"] == "blocks.1.key"
    assert names["scale_output"] == "blocks.1.layer_scale"


def test_the_tree_is_the_same_where_normalization_was_folded(
    result: onnx2mvit.Conversion, tmp_path: Path
) -> None:
    found = converted_in_blocks(exported(hybrid(), LEGACY, tmp_path, SIZE), tmp_path)
    assert tree(found.blocks) == tree(result.blocks)


def test_other_sizes_answer_as_torch(result: onnx2mvit.Conversion) -> None:
    model = build(result.folder, input_shape=(None, None, 3))
    for size in ((64, 32), (45, 35)):
        assert_answers_alike(model, hybrid(), size)


@pytest.mark.slow
def test_it_is_trained(result: onnx2mvit.Conversion) -> None:
    model: Any = build(result.folder)
    before = [np.array(w) for w in model.trainable_weights]
    model.compile(keras.optimizers.SGD(10.0), "mse")
    images = np.random.default_rng(0).uniform(size=(2, *SIZE, 3))
    model.fit(images, np.zeros((2, 7)), verbose=0)
    pairs = zip(before, model.trainable_weights, strict=True)
    assert all((old != np.array(new)).any() for old, new in pairs)


@pytest.mark.slow
def test_it_runs_as_litert(result: onnx2mvit.Conversion, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    deployed = onnx2mvit.deploy(result.folder, tmp_path, inputs=2)
    assert deployed.passed


@pytest.mark.parametrize(
    ("kind", "block", "reason"),
    [
        (UIB, Bottleneck(16, 16, 7, 3), "start (ConvBnAct): kernel_size is 7"),
        (UIB, Bottleneck(16, 16, skip=False), "the input is not added where it could be"),
        (UIB, Bottleneck(16, 16, 0, 3), "start (ConvBnAct): depthwise is False, not True"),
        (FFN, Bottleneck(16, 16, 0, 0, skip=False), f"scale {NO_SUM}"),
        (MQA, Attention(16, factor=1.1), "the scale is not 1/sqrt(d)"),
        (MQA, Attention(16, turned=True),
         "its axes are not moved as in 'b h (r c) k -> b (h k) r c'"),
        (MQA, Attention(16, skip=False), f"scale_output {NO_SUM}"),
        (MQA, Attention(16, strides=(1, 0)), "its keys and values are not of the same pixels"),
    ],
)  # fmt: skip
def test_no_such_block_by_one_detail(
    kind: str, block: nn.Module, reason: str, tmp_path: Path
) -> None:
    graph = read(exported(network(block), LEGACY, tmp_path, SIZE))
    assert not every(lift(graph), kind)
    assert nearest(graph, kind) == reason
