"""Detectors as torch's exporters write them: SSD with and without a feature pyramid, decoders."""

from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pytest
import torch

import onnx2mvit
from onnx2mvit.builder.build import build, import_module
from onnx2mvit.exporter.torch_export import Request
from onnx2mvit.lifter.detection import Detections
from onnx2mvit.runtimes.boxes import found_in
from tests.support.networks import TOLERANCE, converted, exported
from tests.support.reports import assert_in_form
from tests.support.scenes import SIZE
from tests.support.torch_detection import Config, Detector, Transformer, seeded

pytestmark = pytest.mark.xdist_group("detection")

DYNAMO, RAW = Request("dynamo", 20, True, True), Request("dynamo", 20, False, True)
LEGACY, LEGACY_BN = Request("legacy", 17, True, True), Request("legacy", 17, False, True)
EVERY = {"dynamo": DYNAMO, "raw": RAW, "legacy": LEGACY, "legacy, BN kept": LEGACY_BN}
HEADS = {"SSDHead": 3, "AllBoxes": 1}
DECODED = HEADS | {"ClassScores": 1, "DecodedBoxes": 1}
OTHER = (96, 128)


@pytest.mark.parametrize(
    ("config", "kinds", "how"),
    [
        *((Config(), DECODED, how) for how in EVERY if how != "raw"),
        pytest.param(Config(), DECODED, "raw", marks=pytest.mark.slow),  # as with the BN folded
        (Config(decoded=False), HEADS | {"ClassScores": 1, "BoxOffsets": 1}, "legacy"),
        (Config(pyramid=True), DECODED | {"TopDown": 2}, "legacy"),
    ],
)
def test_all_of_a_detector_is_in_blocks(
    config: Config, kinds: dict[str, int], how: str, tmp_path: Path
) -> None:
    network = onnx2mvit.inspect(exported(seeded(Detector(config)), EVERY[how], tmp_path, SIZE))
    assert network.coverage.percent == 100
    found = Counter(block.kind for block in network.blocks)
    assert {kind: found[kind] for kind in kinds} == kinds
    assert "InvertedResidual" not in found


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> tuple[Detector, onnx2mvit.Conversion]:
    folder = tmp_path_factory.mktemp("detector")
    module = seeded(Detector(Config(pyramid=True)))
    file = exported(module, LEGACY_BN, folder, SIZE)
    return module, converted(file, folder, nodes=40)


def test_scores_and_boxes_are_those_of_torch_at_another_size(
    detector: tuple[Detector, onnx2mvit.Conversion],
) -> None:
    module, result = detector
    model = build(result.folder, input_shape=(*OTHER, 3))
    images = np.random.default_rng(0).uniform(size=(2, 3, *OTHER)).astype(np.float32)
    with torch.no_grad():
        expected = [each.numpy() for each in module(torch.from_numpy(images))]
    found = [keras.ops.convert_to_numpy(y) for y in model(images.transpose(0, 2, 3, 1))]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() <= TOLERANCE * np.abs(theirs).max()


def test_its_boxes_are_compared_and_drawn(detector: tuple[Detector, onnx2mvit.Conversion]) -> None:
    _, result = detector
    boxes = result.report["verification"]["boxes"]
    assert boxes["theirs"] == boxes["ours"] == boxes["matched"] > 0
    assert boxes["mean_iou"] == pytest.approx(1, abs=1e-4)
    assert_in_form(result.report)
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert page.count('<svg class="boxes"') == 4  # of two images by two runtimes


def test_the_suppression_behind_it_finds_what_the_proof_counts(
    detector: tuple[Detector, onnx2mvit.Conversion],
) -> None:
    _, result = detector
    images = np.random.default_rng(1).uniform(size=(2, *SIZE, 3)).astype(np.float32)
    how = Detections.from_dict(result.report["detections"])
    scores, boxes = (np.asarray(each) for each in result.model(images))
    found = onnx2mvit.detector(result.model, result.report, max_boxes=100)(images)
    for image in range(len(images)):
        wanted = found_in(boxes[image], scores[image], how, SIZE)
        there = np.asarray(found["labels"])[image] >= 0
        assert there.sum() == len(wanted.labels) > 0
        assert np.allclose(np.asarray(found["boxes"])[image][there], wanted.boxes, atol=1e-5)


def test_its_heads_are_for_other_classes_or_none(
    detector: tuple[Detector, onnx2mvit.Conversion],
) -> None:
    _, result = detector
    other, bare = build(result.folder, num_classes=5), build(result.folder, include_top=False)
    shapes = [each.shape for each in result.model.outputs]
    assert [each.shape for each in other.outputs] == [(*shapes[0][:2], 5), shapes[1]]
    pairs = zip(other.weights, result.model.weights, strict=True)
    fresh = [ours.path for ours, own in pairs if not np.array_equal(np.array(ours), np.array(own))]
    assert fresh == 3 * ["predict_conv/kernel", "predict_conv/bias"]
    assert [each.shape[1:3] for each in bare.outputs] == [(8, 12), (4, 6), (1, 1)]
    pyramid = onnx2mvit.features(result.model, import_module(result.source).PYRAMID)
    assert [each.shape[1:3] for each in pyramid.outputs] == [(8, 12), (4, 6)]


@pytest.mark.parametrize(
    ("norm_first", "encoder", "decoder"),
    [
        (False, "TransformerEncoderLayer", "TransformerDecoderLayer"),
        (True, "TransformerLayer", "PreNormDecoderLayer"),
    ],
    ids=["after", "before"],
)
@pytest.mark.parametrize("how", [LEGACY, pytest.param(RAW, marks=pytest.mark.slow)])
def test_decoders_answer_as_onnxruntime(
    norm_first: bool, encoder: str, decoder: str, how: Request, tmp_path: Path
) -> None:
    file = exported(seeded(Transformer(norm_first)), how, tmp_path)
    result = converted(file, tmp_path)
    found = Counter(block["kind"] for block in result.report["blocks"])
    assert (found[encoder], found[decoder]) == (2, 2)
