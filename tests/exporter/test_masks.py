"""Networks for segmentation of `export --list`: what they are made as, exported and recognised."""

from pathlib import Path
from typing import Any

import pytest
import torch

import onnx2mvit
from onnx2mvit.exporter import export
from onnx2mvit.exporter.checkpoint import classes_in
from onnx2mvit.exporter.variants import VARIANTS

pytestmark = pytest.mark.xdist_group("export")

PUBLISHED = {
    "deeplabv3_mobilevit_xxs": ("MobileViTForSemanticSegmentation", 16, 512),
    "deeplabv3_mobilevit_s": ("MobileViTForSemanticSegmentation", 16, 512),
    "deeplabv3_mobilevitv2_100": ("MobileViTV2ForSemanticSegmentation", 16, 512),
    "deeplabv3_mobilenet_v2_100": ("MobileNetV2ForSemanticSegmentation", 8, 513),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_they_are_classes_for_masks_as_published(name: str) -> None:
    variant, (made_as, stride, size) = VARIANTS[name], PUBLISHED[name]
    config = variant.config()
    assert variant.classifier.__name__ == made_as
    assert (config.output_stride, config.image_size, config.num_labels) == (stride, size, 21)


def test_others_classify_images_or_detect_objects() -> None:
    names = {name for name, variant in VARIANTS.items() if variant.masks}
    assert names >= PUBLISHED.keys() and all(name.startswith("deeplabv3_") for name in names)
    rest = VARIANTS.keys() - names
    classes = {VARIANTS[name].classifier.__name__ for name in rest}
    others = {name for name in classes if "ForImageClassification" not in name}
    assert others == {"DetrForObjectDetection"}


def test_one_is_exported_and_all_of_it_recognised(tmp_path: Path) -> None:
    file, size = tmp_path / "net.onnx", (64, 96)
    options: dict[str, Any] = {"weights": "random", "exporter": "legacy"}
    export("deeplabv3_mobilevit_xxs", file, image_size=size, num_labels=3, **options)
    network = onnx2mvit.inspect(file)
    assert network.coverage.percent == 100
    head = network.blocks[-1]
    assert (head.kind, head.name) == ("DeepLabV3Head", "segmentation_head")
    assert head.params["num_classes"] == 3 and head.output.shape == (3, 3, 4, 6)


def test_a_checkpoint_of_masks_knows_its_classes() -> None:
    name = "segmentation_head.classifier.convolution.weight"
    assert classes_in({name: torch.zeros(7, 256, 1, 1)}) == 7
    assert classes_in({name: torch.zeros(7, 256)}) is None
