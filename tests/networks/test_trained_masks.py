"""A network that was trained on masks finds shapes as well after conversion, deployed too."""

from pathlib import Path

import keras
import numpy as np
import pytest

import onnx2mvit
from onnx2mvit.exporter.torch_export import Request
from onnx2mvit.runtimes import InBatches, LiteRTRunner, OnnxRuntimeRunner
from onnx2mvit.runtimes.masks import mean_iou
from tests.support.networks import converted, exported
from tests.support.scenes import SIZE, scenes
from tests.support.trained_masks import CLASSES, trained


@pytest.mark.slow
def test_masks_are_as_good_in_every_runtime(tmp_path: Path) -> None:
    file = exported(trained(), Request("dynamo", 20, False, True), tmp_path, SIZE)
    result = converted(file, tmp_path / "out", nodes=60)
    assert {"MobileViTBlock", "DeepLabV3Head"} <= {block.kind for block in result.blocks}
    assert result.report["verification"]["mean_iou"] > 0.999
    deployed = onnx2mvit.deploy(result.folder, tmp_path / "deployed", inputs=4)
    assert deployed.passed and deployed.comparison.mean_iou == pytest.approx(1, abs=1e-3)

    shown = scenes(32, seed=1_000_000)  # of none of the seeds that it was trained on
    (name,) = (each["name"] for each in result.report["inputs"])
    answers = OnnxRuntimeRunner(file)({name: shown.images.transpose(0, 3, 1, 2)})
    (theirs,) = (each.argmax(1) for each in answers.values())
    litert = InBatches(LiteRTRunner(deployed.file.read_bytes()), 1, {name: 0})
    (on_device,) = (each.argmax(-1) for each in litert({name: shown.images}).values())
    ours = keras.ops.convert_to_numpy(result.model(shown.images)).argmax(-1)
    assert len(np.unique(theirs)) == CLASSES
    truth = mean_iou([(theirs, shown.masks)], CLASSES)
    assert truth > 0.7
    for masks in (ours, on_device):
        assert mean_iou([(masks, theirs)], CLASSES) > 0.999
        assert mean_iou([(masks, shown.masks)], CLASSES) == pytest.approx(truth, abs=1e-3)
