"""Which sizes a report says a model can be made for, and for which it can be."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import onnx2mvit
from onnx2mvit.builder.build import build
from onnx2mvit.emitter import emit
from onnx2mvit.errors import UnsupportedError
from onnx2mvit.exporter.torch_export import Request
from onnx2mvit.ir.network import Network
from onnx2mvit.reports.report import by_rule
from tests.support.networks import exported
from tests.support.torch_coatnet import CoAtNet, MBConv, Transformer
from tests.support.torch_detection import Config as DetectorConfig
from tests.support.torch_detection import Detector
from tests.support.torch_detection import Transformer as EncoderDecoder
from tests.support.torch_edgenext import EdgeNeXt
from tests.support.torch_efficientformer import efficientformer
from tests.support.torch_efficientformerv2 import efficientformer_v2
from tests.support.torch_levit import levit
from tests.support.torch_mobilevit import Config as MobileViTConfig
from tests.support.torch_mobilevit import MobileViT
from tests.support.torch_swin import Config as SwinConfig
from tests.support.torch_swin import Swin
from tests.support.torch_tinyvit import tiny_vit
from tests.support.torch_vit import Config as ViTConfig
from tests.support.torch_vit import ViT

LEGACY = Request("legacy", 17, True, True)
ANY = "any height and width from 32"


def coatnet() -> nn.Module:
    model = CoAtNet(MBConv(16, 24, 2), MBConv(24, 24, 2), Transformer(24, 32, 4, 2))
    model(torch.zeros(1, 3, 64, 64))
    return model


def swin(mask: float = 0.0) -> nn.Module:
    return Swin(SwinConfig(mask=mask))


class Mixer(nn.Module):
    """A linear layer over all pixels (arXiv:2105.01601), which no pattern knows."""

    def __init__(self) -> None:
        super().__init__()
        self.proj, self.mix = nn.Conv2d(3, 8, 4, 4), nn.Linear(64, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens: torch.Tensor = self.proj(x).flatten(2)
        mixed: torch.Tensor = self.mix(tokens)
        return mixed.mean(2)


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, int], str]] = {
    "Swin": (swin, (32, 32), "multiples of 32; "),
    "Swin, another mask": (lambda: swin(-1.0), (32, 32), "WindowMask"),
    "TinyViT": (tiny_vit, (72, 48), ANY),
    "LeViT": (levit, (10, 6), "ScoreBias"),
    "EfficientFormer": (efficientformer, (6, 4), "ScoreBias"),
    "EfficientFormerV2": (efficientformer_v2, (12, 8), "ScoreBias"),
    "CoAtNet": (coatnet, (64, 64), "ScoreBias"),
    "EdgeNeXt": (lambda: EdgeNeXt(True), (32, 32), "PositionEmbedding"),
    "EdgeNeXt without positions": (lambda: EdgeNeXt(False), (32, 32), ANY),
    "ViT": (lambda: ViT(ViTConfig()), (32, 48), ANY),
    "ViT with a stem": (lambda: ViT(ViTConfig(stem="convs")), (32, 48), ANY),
    "MobileViT": (lambda: MobileViT(MobileViTConfig()), (64, 64), ANY),
    "encoder and decoder": (lambda: EncoderDecoder(True), (32, 32), ANY),
    "SSD": (lambda: Detector(DetectorConfig()), (64, 64), ANY),
    "MLP-Mixer": (Mixer, (32, 32), "Dense"),
}


def fits(folder: Path, size: tuple[int, int]) -> bool:
    """Whether the model can be made for images of this size."""
    try:
        build(folder, "net", input_shape=(*size, 3), weights=None)
    except UnsupportedError as error:
        assert "\n" not in str(error)
        return False
    return True


def refusal(network: Network, size: tuple[int, int]) -> str:
    """What emitting it for this size says, if it is refused."""
    try:
        emit(network, "net", "", size)
    except UnsupportedError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", CASES)
def test_it_is_true(name: str, tmp_path: Path) -> None:
    made, traced, claim = CASES[name]
    network = onnx2mvit.inspect(exported(made().eval(), LEGACY, tmp_path, traced))
    said, (height, width) = by_rule(network), traced
    assert claim in said
    (tmp_path / "net.py").write_text(emit(network, "net", ""))
    steps = [int(number) for number in re.findall(r"multiples of (\d+)", said)]
    sizes = [(height + 8, width + 24), *([(2 * height, 3 * width)] if steps else [])]
    for size in sizes:
        whole = not any(length % step for length in size for step in steps)
        wanted = not said.startswith("none") and whole
        assert fits(tmp_path, size) is wanted
        assert (refusal(network, size) == "") is wanted


def test_the_reason_names_a_block_and_what_to_do(tmp_path: Path) -> None:
    network = onnx2mvit.inspect(exported(EdgeNeXt(True).eval(), LEGACY, tmp_path))
    why = refusal(network, (64, 64))
    assert why.startswith("the model can only be made for images of 32×32: 'blocks.1'")
    assert "(PositionEmbedding) has numbers for 64 places" in why
    assert why.endswith("Export the network at the size that you need.")


def test_windows_say_which_sizes_they_fill(tmp_path: Path) -> None:
    network = onnx2mvit.inspect(exported(swin().eval(), LEGACY, tmp_path))
    assert refusal(network, (48, 48)).endswith("ask for multiples of 32")
    with pytest.raises(UnsupportedError, match="multiples of 32"):
        emit(network, "net", "", "any")
