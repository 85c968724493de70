"""A trained network finds shapes as well after conversion as before, deployed or not."""

from pathlib import Path

import keras
import numpy as np
import pytest
import torch

import onnx2mvit
from onnx2mvit.exporter.torch_export import Request
from onnx2mvit.runtimes import InBatches, LiteRTRunner
from onnx2mvit.runtimes.masks import mean_iou
from tests.support.networks import converted, exported
from tests.support.shapes import CLASSES, SIZE, full_size, shapes, trained


class Masks(torch.nn.Module):
    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(pixel_values=pixel_values).logits
        return logits


@pytest.mark.slow
def test_masks_are_as_good_as_in_torch(tmp_path: Path) -> None:
    module = Masks(trained()).eval()
    file = exported(module, Request("dynamo", 20, False, True), tmp_path, (SIZE, SIZE))
    result = converted(file, tmp_path)
    assert result.report["verification"]["mean_iou"] > 0.999
    deployed = onnx2mvit.deploy(result.folder, tmp_path / "deployed", inputs=2)

    images, right = shapes(64, seed=1_000_000)  # of none of the seeds that it was trained on
    with torch.no_grad():
        answer = module(torch.from_numpy(images).permute(0, 3, 1, 2))
    found = {
        "torch": answer.permute(0, 2, 3, 1).numpy(),
        "keras": keras.ops.convert_to_numpy(result.model(images)),
        "litert": next(
            iter(InBatches(LiteRTRunner(deployed.file.read_bytes()), 1)(images).values())
        ),
    }
    masks = {runtime: full_size(logits) for runtime, logits in found.items()}
    scores = {runtime: mean_iou([(mask, right)], len(CLASSES)) for runtime, mask in masks.items()}
    assert scores["torch"] > 0.8
    assert len(np.unique(masks["torch"])) == len(CLASSES)
    for runtime in ("keras", "litert"):
        assert scores[runtime] == pytest.approx(scores["torch"], abs=1e-3)
        assert mean_iou([(masks[runtime], masks["torch"])], len(CLASSES)) > 0.999
