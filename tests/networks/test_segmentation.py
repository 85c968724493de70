"""Networks for segmentation: converted, at other sizes, with other heads, trained, deployed."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import onnx2mvit
from onnx2mvit.builder.build import build, import_module
from onnx2mvit.exporter.torch_export import Request
from tests.support.networks import assert_answers_alike, converted, exported
from tests.support.reports import assert_in_form
from tests.support.torch_segmentation import FEATURES, Config, Segmentation

pytestmark = pytest.mark.xdist_group("segmentation")

FOLDED, KEPT = Request("dynamo", 20, True, True), Request("dynamo", 20, False, True)
LEGACY = Request("legacy", 17, False, True)
PSPNET = Config("pspnet", sizes=(1, 2, 3, 6), align_corners=True)
SEPARABLE = Config(separable=True, align_corners=True, resize="size")
# By each exporter what it can write; square images have square windows.
CASES = {
    "deeplabv3": (Config(), FOLDED, (64, 96)),
    "deeplabv3+": (SEPARABLE, LEGACY, (96, 64)),
    "pspnet": (PSPNET, KEPT, (64, 64)),
}
Case = tuple[Config, onnx2mvit.Conversion]
# These have all that the smallest has, and more.
LARGER = pytest.mark.parametrize("case", ["deeplabv3+", "pspnet"], indirect=True)


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    config, how, size = CASES[request.param]
    folder = tmp_path_factory.mktemp("segmentation")
    file = exported(Segmentation(config), how, folder, size)
    return config, converted(file, folder, nodes=20)


def test_it_is_proven_and_ends_in_its_head(case: Case) -> None:
    config, result = case
    kinds = [block.kind for block in result.blocks]
    head = "PSPNetHead" if config.head == "pspnet" else "DeepLabV3Head"
    assert kinds[:3] == 3 * ["ConvBnAct"]
    assert kinds[3:] == [head, "ResizeToInput" if config.resize == "size" else "BilinearUpsampling"]
    (output,) = result.report["outputs"]
    assert output["axes"] == ["batch", "height", "width", "channels"] and output["mask"]


def test_agreement_is_that_of_masks(case: Case) -> None:
    _, result = case
    proof = result.report["verification"]
    assert proof["mean_iou"] > 0.99 and proof["top1_agreement"] is None
    assert_in_form(result.report)
    first, _ = proof["masks"]
    height, width, _ = result.report["model"]["input_shape"][1:]
    assert (len(first["keras"]), len(first["keras"][0])) == (height, width)
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/png;base64,') == 6


def test_another_size_answers_as_in_torch(case: Case) -> None:
    config, result = case
    size = (67, 41)
    model = build(result.folder, input_shape=(*size, 3))
    assert_answers_alike(model, Segmentation(config), size)


def test_its_head_is_for_other_classes_or_none(case: Case) -> None:
    _, result = case
    other, bare = build(result.folder, num_classes=3), build(result.folder, include_top=False)
    assert other.output_shape[-1] == 3 and bare.output_shape[-1] == FEATURES
    pairs = zip(other.weights, result.model.weights, strict=True)
    fresh = [ours.path for ours, own in pairs if not np.array_equal(np.array(ours), np.array(own))]
    assert fresh == ["classifier_conv/kernel", "classifier_conv/bias"]
    assert import_module(result.source).PYRAMID == ("encoder_1", "encoder_2")


@pytest.mark.slow
@LARGER
def test_it_is_trained_and_read_again(case: Case, tmp_path: Path) -> None:
    _, result = case
    model: Any = build(result.folder, num_classes=2)
    images = np.random.default_rng(0).uniform(size=(2, *model.input_shape[1:]))
    masks = (images.mean(-1) > 0.5).astype(int)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss)
    before = [np.array(weight) for weight in model.trainable_weights]
    model.fit(images, masks, verbose=0)
    moved = [(np.array(w) != b).any() for w, b in zip(model.trainable_weights, before, strict=True)]
    assert all(moved)
    model.save(tmp_path / "again.keras")
    again = keras.models.load_model(tmp_path / "again.keras")(images)
    assert (np.asarray(again) == np.asarray(model(images))).all()


@pytest.mark.slow
@LARGER
def test_it_is_deployed(case: Case, tmp_path: Path) -> None:
    _, result = case
    deployed = onnx2mvit.deploy(result.folder, tmp_path, inputs=2)
    assert deployed.passed
    assert deployed.comparison.mean_iou is not None and deployed.comparison.mean_iou > 0.99


@pytest.mark.parametrize("align_corners", [False, True])
def test_one_model_is_for_any_size(tmp_path: Path, align_corners: bool) -> None:
    """Pooling and interpolation that go with the image, in the middle and at the end."""
    config = Config("pspnet", align_corners=align_corners, resize="size")
    file = exported(Segmentation(config), FOLDED, tmp_path, (64, 80))
    model = converted(file, tmp_path, nodes=10, image_size="any").model
    assert model.input_shape == (None, None, None, 3)
    for size in ((64, 80), (67, 41), (130, 33)):
        assert_answers_alike(model, Segmentation(config), size)
