"""Real exports of MobileViTv2 from Hugging Face and timm: one network, however it is spelled."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import MobileViTV2Config, MobileViTV2ForImageClassification

import onnx2mvit
from onnx2mvit.exporter.torch_export import Request
from onnx2mvit.ir.network import Network
from tests.reader.test_spellings_v2 import filled as without_filling
from tests.support import skeletons
from tests.support.networks import assert_answers_alike, converted, exported, tree
from tests.support.torch_mobilevit import randomize

Fill = Callable[[str], Path]
Lift = Callable[[str], Network]
V2 = sorted(
    path.name.removesuffix(".onnx.xz") for path in skeletons.FOLDER.glob("*-mobilevitv2_*.xz")
)


def test_there_are_exports_of_both_sources() -> None:
    assert len(V2) == 5
    assert {name.partition("-")[0] for name in V2} == {"hf", "timm"}


@pytest.mark.parametrize("name", V2)
def test_every_node_lies_in_a_block_and_the_network_is_the_same(name: str, lifted: Lift) -> None:
    network = lifted(name)
    assert not network.refused
    # One spelling: Hugging Face's fold is one node, timm's are two.
    kept = any(block.kind == "BatchNorm" for top in network.blocks for block in top.walk())
    assert network.coverage.nodes - 25 * kept == (244 if name.startswith("hf") else 247)
    blocks = [block for block in network.blocks if block.kind == "MobileViTV2Block"]
    assert [(block.dim, block.depth) for block in blocks] == [(64, 2), (96, 4), (128, 3)]
    assert {block.stretch for block in blocks} == {name.startswith("timm")}
    reference = lifted(V2[0])
    assert without_filling(tree(network.blocks)) == without_filling(tree(reference.blocks))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("hf-mobilevitv2_050.dynamo.raw.dynb", marks=pytest.mark.slow),
        "timm-mobilevitv2_050.legacy13.dynb",
    ],
)
def test_it_answers_as_onnxruntime(name: str, filled: Fill, tmp_path: Path) -> None:
    result = converted(filled(name), tmp_path)
    assert result.report["model"]["layout_transposes"] == 0
    assert all(type(layer).__module__.startswith("keras.") for layer in result.model.layers)


@pytest.mark.parametrize(
    ("name", "inner"),
    [
        (
            "hf-mobilevitv2_050.dynamo.dynb",
            ("conv_kxk", "conv_1x1", "", "transformer.layer.0", "transformer.layer.1", "layernorm",
             "", "conv_projection"),
        ),
        (
            "timm-mobilevitv2_050.legacy17.bn.dynb",
            ("conv_kxk", "conv_1x1", "", "transformer.0", "transformer.1", "norm", "", "conv_proj"),
        ),
    ],
)  # fmt: skip
def test_names_are_those_of_the_modules(name: str, inner: tuple[str, ...], lifted: Lift) -> None:
    block = next(b for b in lifted(name).blocks if b.kind == "MobileViTV2Block")
    assert block.name == ("encoder.layer.2" if name.startswith("hf") else "stages.2.1")
    below = [child.name.removeprefix(block.name).removeprefix(".") for child in block.children]
    assert tuple(below) == inner


class Logits(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        config = MobileViTV2Config(width_multiplier=0.5, n_attn_blocks=[1, 1, 1])
        self.inner: Any = MobileViTV2ForImageClassification(config)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.inner(pixel_values).logits
        return logits


def test_hugging_faces_classes_leave_out_what_patches_do_not_cover(tmp_path: Path) -> None:
    module = Logits()
    randomize(module, 0, (64, 64))
    module.eval()
    file = exported(module, Request("dynamo", 20, True, False), tmp_path, (64, 64))
    size = (100, 72)  # the last maps are 13×9, 7×5 and 4×3
    model = onnx2mvit.convert(file, tmp_path, verify=False, image_size=size).model
    assert_answers_alike(model, module, size)
