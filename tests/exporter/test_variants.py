"""Hugging Face's MobileViT in other shapes than the three published ones, exported as users do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import MobileViTConfig, MobileViTForImageClassification, MobileViTModel
from transformers.models.mobilevit.modeling_mobilevit import MobileViTTransformer

import onnx2mvit
from onnx2mvit.base.quiet import quiet
from onnx2mvit.exporter.random_weights import randomize

SMALL: dict[str, Any] = {
    "hidden_sizes": [32, 40, 48],
    "neck_hidden_sizes": [8, 8, 16, 24, 32, 40, 64],
    "expand_ratio": 2.0,
    "image_size": 96,
    "num_labels": 10,
}
SIZE = 96


class Features(torch.nn.Module):
    """The network without a head: what it hands out is up to `pick`."""

    def __init__(self, expand: bool, pick: Callable[[Any], Any]) -> None:
        super().__init__()
        self.inner: Any = MobileViTModel(MobileViTConfig(**SMALL), expand_output=expand)
        self.pick = pick

    def forward(self, pixel_values: torch.Tensor) -> Any:
        return self.pick(self.inner(pixel_values, output_hidden_states=True))


class Logits(torch.nn.Module):
    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.inner: Any = MobileViTForImageClassification(MobileViTConfig(**SMALL | config))

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.inner(pixel_values).logits
        return logits


def exported(module: Features | Logits, path: Path, **options: Any) -> Path:
    module.train(False)
    for inner in module.modules():  # one layer in each transformer: what differs is around it
        if isinstance(inner, MobileViTTransformer):
            inner.layer = inner.layer[:1]
    randomize(module.inner, 0)
    image = torch.rand(2, 3, SIZE, SIZE)
    axes = {"pixel_values": {0: "batch"}}
    with quiet():
        torch.onnx.export(
            module,
            (image,),
            str(path),
            **{
                "dynamo": False,
                "opset_version": 17,
                "training": torch.onnx.TrainingMode.PRESERVE,
                "do_constant_folding": False,
                "input_names": ["pixel_values"],
                "dynamic_axes": axes,
                **options,
            },
        )
    return path


def converted(path: Path, folder: Path) -> onnx2mvit.Conversion:
    result = onnx2mvit.convert(path, folder, inputs=2)
    assert result.report["coverage"]["unsupported"] == 0
    assert result.report["verification"]["verdict"] == "passed"
    return result


def test_a_backbone_hands_out_its_map_and_its_vector(tmp_path: Path) -> None:
    module = Features(True, lambda out: (out.last_hidden_state, out.pooler_output))
    result = converted(exported(module, tmp_path / "net.onnx"), tmp_path)
    assert result.model.output_shape == [(None, 3, 3, 64), (None, 64)]
    assert "num_classes" not in result.source.read_text()


def test_a_pyramid_hands_out_every_stage(tmp_path: Path) -> None:
    module = Features(False, lambda out: out.hidden_states)
    result = converted(exported(module, tmp_path / "net.onnx"), tmp_path)
    channels = [shape[-1] for shape in result.model.output_shape]
    assert channels == SMALL["neck_hidden_sizes"][1:6]


def test_every_axis_of_the_image_may_be_declared_dynamic(tmp_path: Path) -> None:
    axes = {"pixel_values": {0: "batch", 1: "num_channels", 2: "height", 3: "width"}}
    path = exported(Logits(), tmp_path / "net.onnx", dynamic_axes=axes)
    result = converted(path, tmp_path)
    assert result.model.input_shape == (None, 256, 256, 3)
    assert result.report["sizes"]["file_elsewhere"] is not None


@pytest.mark.parametrize("stride", [8, pytest.param(16, marks=pytest.mark.slow)])
def test_a_backbone_for_segmentation_is_dilated(tmp_path: Path, stride: int) -> None:
    module = Logits(output_stride=stride)
    result = converted(exported(module, tmp_path / "net.onnx"), tmp_path)
    dilations = [b.dilation for b in result.blocks if b.kind == "InvertedResidual"]
    assert max(dilations) == 16 // stride
    assert "dilation=" in result.source.read_text()


def test_attention_without_biases_on_query_key_and_value(tmp_path: Path) -> None:
    result = converted(exported(Logits(qkv_bias=False), tmp_path / "net.onnx"), tmp_path)
    (first, *_) = [block for top in result.blocks for block in top.walk()
                   if block.kind == "MultiHeadAttention"]  # fmt: skip
    assert first.params["use_bias"]
    assert not first.weights["query/bias"].any()
    assert first.weights["attention_output/bias"].any()
