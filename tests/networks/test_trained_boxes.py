"""A detector that is trained on discs and squares finds them as well after conversion."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import onnx2mvit
from onnx2mvit.exporter.torch_export import Request
from tests.support.networks import exported
from tests.support.scenes import SIZE, scenes
from tests.support.torch_detection import CLASSES, overlaps, trained

Boxes = np.ndarray[Any, Any]


def matched(ours: Boxes, theirs: Boxes, share: float) -> float:
    """How many rows of class and corners have one of ours of that class that overlaps so far."""
    if not len(ours):
        return 0.0
    shared = overlaps(torch.from_numpy(theirs[:, 1:]), torch.from_numpy(ours[:, 1:])).numpy()
    same = theirs[:, :1] == ours[None, :, 0]
    return float(((shared > share) & same).any(axis=1).mean())


def rows(answers: dict[str, Any], image: int) -> Boxes:
    """The class and corners of what was found in an image."""
    labels, boxes = (np.asarray(answers[name])[image] for name in ("labels", "boxes"))
    found: Boxes = np.concatenate([labels[:, None], boxes], axis=1)[labels >= 0]
    return found.astype(np.float32)


@pytest.mark.slow
def test_what_was_learned_is_found_by_keras_as_by_torch(tmp_path: Path) -> None:
    module = trained()
    file = exported(module, Request("legacy", 17, False, True), tmp_path, SIZE)
    shown = scenes(16, 100_000, CLASSES - 1)
    images, there = shown.images, shown.boxes
    folder = tmp_path / "images"
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(np.round(255 * image).astype(np.uint8)).save(folder / f"{number:02}.png")
    result = onnx2mvit.convert(file, tmp_path / "out", images=folder)
    deployed = onnx2mvit.deploy(result.folder, tmp_path / "deployed", images=folder)
    assert result.passed and deployed.passed
    for agreed in (result.report["verification"]["boxes"], deployed.report["comparison"]["boxes"]):
        assert agreed["matched"] == agreed["ours"] == agreed["theirs"] >= len(images)
        assert agreed["mean_iou"] > 0.999
    limits: dict[str, Any] = {"score_threshold": 0.5, "iou_threshold": 0.45, "max_boxes": 20}
    model = onnx2mvit.detector(result.model, result.report, **limits)
    found = model(images)
    with torch.no_grad():
        scores, boxes = module(torch.from_numpy(images).permute(0, 3, 1, 2))
    scores[..., 0] = 0  # none of the classes
    by_torch = model.get_layer("detections")([boxes.numpy(), scores.numpy()])
    for image in range(len(images)):
        ours, theirs = rows(found, image), rows(by_torch, image)
        assert len(ours) == len(theirs)
        assert not len(theirs) or matched(ours, theirs, 0.999) == 1
    right = [matched(rows(found, image), each, 0.5) for image, each in enumerate(there)]
    # 25 of 32 shapes are found after so short a training; by chance it would be next to none.
    assert np.mean(right) > 0.7
