"""RepViT as timm spells it, with its branches, merged, and merged on request."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import onnx2mvit
from onnx2mvit.builder.build import build
from onnx2mvit.exporter.torch_export import Request
from onnx2mvit.ir.network import Network
from tests.support.networks import assert_answers_alike, exported, layers
from tests.support.networks import converted as converted_in_blocks
from tests.support.torch_repvit import Config, RepViT

pytestmark = pytest.mark.xdist_group("repvit")

FOLDED, KEPT = Request("legacy", 17, True, True), Request("legacy", 17, False, True)
KINDS = ["ConvBnAct", "ConvBnAct", *3 * ["RepViTBlock"], "RepViTDownsample", "RepViTBlock"]


@pytest.mark.parametrize("config", [Config(), Config(first=True), Config(merged=True)])
def test_all_of_it_is_in_the_papers_blocks(config: Config, tmp_path: Path) -> None:
    found = []
    for request in (FOLDED, KEPT):
        network = onnx2mvit.inspect(exported(RepViT(config), request, tmp_path))
        assert network.coverage.percent == 100
        head = "Classifier" if config.merged else "NormalizedClassifier"
        assert [block.kind for block in network.blocks] == [*KINDS, head]
        found.append(layers(network.blocks))
    assert found[0] == found[1]
    blocks = [block for block in network.blocks if block.kind == "RepViTBlock"]
    assert [block.params.get("squeeze") for block in blocks] == [8, None, None, 8]
    assert {block.params.get("merged", False) for block in blocks} == {config.merged}
    normalized = None if config.merged else not config.first
    assert {block.params.get("normalize") for block in blocks} == {normalized}
    names = [block.name for block in network.blocks[4:7]]
    assert names == ["downsample.pre_block", "downsample", "second.0"]


def test_timms_own(lifted: Callable[[str], Network]) -> None:
    network = lifted("timm-repvit_m1_reparam.dynamo")
    assert network.coverage.percent == 100
    kinds = Counter(block.kind for block in network.blocks)
    blocks = {"RepViTBlock": 20 + 3, "RepViTDownsample": 3}
    assert kinds == {"ConvBnAct": 2, **blocks, "Classifier": 1}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(RepViT(Config()), KEPT, tmp_path_factory.mktemp("repvit"))


def test_it_is_proven_trains_and_takes_other_sizes(file: Path, tmp_path: Path) -> None:
    result = converted_in_blocks(file, tmp_path)
    line = 'x = rep_vit_downsample(x, 16, name="downsample")'
    assert f"    {line}\n" in result.source.read_text(encoding="utf-8")
    model: Any = build(result.folder, input_shape=(45, 50, 3))
    assert_answers_alike(model, RepViT(Config()), (45, 50))
    before = [np.array(weight) for weight in model.trainable_weights]
    model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    images = np.random.default_rng(0).uniform(size=(2, 45, 50, 3)).astype("float32")
    model.fit(images, np.zeros((2, 7)), verbose=0)
    pairs = zip(model.trainable_weights, before, strict=True)
    still = [weight.path for weight, old in pairs if (np.array(weight) == old).all()]
    assert not [path for path in still if not path.endswith("bias")]


@pytest.mark.slow
def test_merged_on_request_it_is_proven_and_deployed(file: Path, tmp_path: Path) -> None:
    result = converted_in_blocks(file, tmp_path, nodes=40, merge_branches=True)
    assert {b.merged for b in result.blocks if b.kind == "RepViTBlock"} == {True}
    assert result.report["onnx"]["merged_branches"] == 4
    norms = [layer.name for layer in result.model.layers if "Normalization" in type(layer).__name__]
    assert norms == ["head_bn"]  # it is none of a convolution
    assert onnx2mvit.deploy(result.folder, tmp_path / "deployed", onnx=file, inputs=2).passed
