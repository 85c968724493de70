"""ResNet and RegNet: real exports of timm's, and Hugging Face's classes in small."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np
import pytest
import torch
from transformers import (
    RegNetConfig,
    RegNetForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
)

import onnx2mvit
from onnx2mvit.builder.build import build, load
from onnx2mvit.exporter.torch_export import Logits, Request
from onnx2mvit.ir.network import Network
from tests.support.networks import assert_answers_alike, exported, layers
from tests.support.torch_mobilevit import randomize

pytestmark = pytest.mark.xdist_group("resnet")  # its conversions are used by several tests

Fill = Callable[[str], Path]
Convert = Callable[[str], onnx2mvit.Conversion]
EXPORTERS = ("dynamo.dynb", "legacy17.bn.dynb")
PARAMETERS = {"resnet18": 11_689_512, "regnety_004": 4_344_144}


@pytest.fixture(scope="module")
def converted(filled: Fill, tmp_path_factory: pytest.TempPathFactory) -> Convert:
    """The real exports, each converted once."""
    return cache(
        lambda name: onnx2mvit.convert(filled(name), tmp_path_factory.mktemp("out"), inputs=2)
    )


@pytest.mark.parametrize("model", PARAMETERS)
def test_both_exporters_hand_over_one_network(model: str, lifted: Callable[[str], Network]) -> None:
    folded, kept = (lifted(f"timm-{model}.{exporter}") for exporter in EXPORTERS)
    assert not folded.refused and not kept.refused
    assert layers(folded.blocks) == layers(kept.blocks)
    for network in (folded, kept):
        paths = [b.path for top in network.blocks for b in top.walk() if b.weights]
        assert len(paths) == len(set(paths))


def test_names_are_timms(lifted: Callable[[str], Network]) -> None:
    network = lifted("timm-resnet18.legacy17.bn.dynb")
    blocks = [f"layer{stage}.{index}" for stage in range(1, 5) for index in range(2)]
    assert [block.name for block in network.blocks] == ["conv1", "maxpool", *blocks, "fc"]
    network = lifted("timm-regnety_004.dynamo.dynb")
    depths = {1: 1, 2: 3, 3: 6, 4: 6}
    blocks = [f"s{stage}.b{i + 1}" for stage, depth in depths.items() for i in range(depth)]
    assert [block.name for block in network.blocks] == ["stem", *blocks, "head"]
    paths = [block.path for block in network.blocks[2].walk() if block.weights]
    assert [path.removeprefix("s2.b1/") for path in paths] == [
        "conv1_conv", "conv2_conv", "se_fc1_conv", "se_fc2_conv", "conv3_conv", "downsample_conv",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "exporter"),
    [
        ("resnet18", "legacy17.bn.dynb"),
        ("regnety_004", "dynamo.dynb"),
        pytest.param("resnet18", "dynamo.dynb", marks=pytest.mark.slow),
        pytest.param("regnety_004", "legacy17.bn.dynb", marks=pytest.mark.slow),
    ],
)
def test_it_answers_as_onnxruntime(model: str, exporter: str, converted: Convert) -> None:
    report = converted(f"timm-{model}.{exporter}").report
    assert report["coverage"]["in_blocks"] == report["coverage"]["nodes"]
    proof = report["verification"]
    assert proof["verdict"] == "passed"
    assert proof["max_rel_error"] <= 1e-5
    kind = "BasicBlock" if model == "resnet18" else "Bottleneck"
    assert sum(block["kind"] == kind for block in proof["blocks"]) == (8 if "18" in model else 16)
    assert report["model"]["layout_transposes"] == 0
    if ".bn." in exporter:
        assert report["model"]["trainable_parameters"] == PARAMETERS[model]


def test_resnet_reads_as_one_would_write_it(converted: Convert) -> None:
    source = converted("timm-resnet18.legacy17.bn.dynb").source.read_text()
    for line in (
        'x = max_pooling(x, 3, strides=2, padding=1, name="maxpool")',
        'x = basic_block(x, 128, strides=2, name="layer2.0")',
        "    if include_top:\n        x = classifier(\n",
    ):
        assert line in source
    # What this network has no use for is not in it.
    assert "squeeze" not in source and "shortcut_pool" not in source
    network = source.partition("    return model\n")[0]
    assert len(network.splitlines()) < 175


def test_regnet_reads_as_one_would_write_it(converted: Convert) -> None:
    source = converted("timm-regnety_004.dynamo.dynb").source.read_text()
    assert 'x = bottleneck(x, 48, strides=2, groups=6, squeeze=8, name="s1.b1")' in source
    assert "width_ratio=1," in source and "def squeeze_excite(" in source
    assert "strides_first" not in source and "squeeze_last" not in source


SMALL: dict[str, Any] = {"embedding_size": 8, "num_labels": 5}
NETWORKS: dict[str, tuple[Callable[[], torch.nn.Module], dict[str, Any]]] = {
    "basic blocks that are strided from the first stage on": (
        lambda: ResNetForImageClassification(
            ResNetConfig(
                layer_type="basic",
                hidden_sizes=[8, 16],
                depths=[2, 1],
                downsample_in_first_stage=True,
                hidden_act="gelu",
                **SMALL,
            )
        ),
        {"activation": "relu", "output_activation": "gelu", "strides": 2},
    ),
    "bottlenecks with strides on the first convolution": (
        lambda: ResNetForImageClassification(
            ResNetConfig(hidden_sizes=[16, 32], depths=[1, 2], downsample_in_bottleneck=True,
                         **SMALL)
        ),
        {"strides_first": True, "width_ratio": 0.25, "strides": 2},
    ),
    "RegNetX": (
        lambda: RegNetForImageClassification(
            RegNetConfig(layer_type="x", hidden_sizes=[8, 16], depths=[1, 2], groups_width=4,
                         **SMALL)
        ),
        {"groups": 4, "width_ratio": 1, "strides": 2},
    ),
}  # fmt: skip


@pytest.mark.parametrize("network", NETWORKS)
def test_hugging_faces_networks(network: str, tmp_path: Path) -> None:
    make, expected = NETWORKS[network]
    torch.manual_seed(0)
    logits = Logits(cast(Any, make()), (75, 70))
    randomize(logits, 0, (64, 64))
    logits.eval()
    file = exported(logits, Request("legacy", 13, False, True), tmp_path, (75, 70))
    result = onnx2mvit.convert(file, tmp_path, inputs=2)
    assert result.passed and result.report["coverage"]["unsupported"] == 0
    strided = [b for b in result.blocks if b.pattern.nested and b.strides == 2][-1]
    assert strided.params | expected == strided.params
    assert strided.name == "encoder.stages.1.layers.0"
    assert_answers_alike(build(result.folder, input_shape=(96, 65, 3)), logits, (96, 65))
    saved = load(result.folder / "net.keras")  # its padding is minus infinity
    pixels = np.random.default_rng(0).uniform(size=(2, 75, 70, 3)).astype(np.float32)
    assert (np.asarray(saved(pixels)) == np.asarray(result.model(pixels))).all()
    if "Reg" in network:
        one_step_changes_every_tensor(build(result.folder, input_shape=(32, 32, 3)))


def one_step_changes_every_tensor(model: keras.Model) -> None:
    before = [variable.numpy().copy() for variable in model.weights]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, run_eagerly=True)
    images = np.random.default_rng(0).uniform(size=(4, *model.input_shape[1:])).astype(np.float32)
    model.fit(images, np.arange(4), batch_size=4, verbose=0)
    for variable, old in zip(model.weights, before, strict=True):
        assert (variable.numpy() != old).any(), variable.path
