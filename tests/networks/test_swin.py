"""Swin as timm, ml-cvnets and Hugging Face spell it: converted, at other sizes, trained."""

from pathlib import Path
from typing import Any, cast

import keras
import numpy as np
import pytest
import torch
from transformers import SwinConfig, SwinForImageClassification

import onnx2mvit
from onnx2mvit.builder.build import build, import_module
from onnx2mvit.errors import UnsupportedError
from onnx2mvit.exporter.torch_export import Request
from tests.support.networks import assert_answers_alike, exported
from tests.support.networks import converted as converted_in_blocks
from tests.support.torch_swin import CLASSES, Config, Swin
from tests.support.torch_vit import randomize

pytestmark = pytest.mark.xdist_group("swin")

DYNAMO, LEGACY = Request("dynamo", 20, True, True), Request("legacy", 17, True, True)
STAGES = ["SwinStage", "PatchMerging", "SwinStage", "LayerNorm", "MeanClassifier"]


class HuggingFace(torch.nn.Module):
    """Hugging Face's class: tokens all the way, biases and masks added up before."""

    def __init__(self) -> None:
        super().__init__()
        config: dict[str, Any] = {"image_size": 32, "embed_dim": 16, "window_size": 4}
        config |= {"depths": [2, 2], "num_heads": [2, 4], "qkv_bias": False, "num_labels": CLASSES}
        self.inner = SwinForImageClassification(SwinConfig(**config))

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.inner(pixel_values).logits)


def torch_model(source: str, size: int = 32) -> torch.nn.Module:
    """At any size these have the same weights."""
    if source == "huggingface":
        model: torch.nn.Module = HuggingFace()
    else:
        model = Swin(Config(timm=source == "timm", fused=source == "timm", size=(size, size)))
    randomize(model, 0)
    for name, parameter in model.named_parameters():
        if "table" in name:
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    return model.eval()


@pytest.fixture(scope="module", params=["timm", "ml-cvnets", "huggingface"])
def converted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, onnx2mvit.Conversion]:
    folder = tmp_path_factory.mktemp("swin")
    exporter = DYNAMO if request.param == "timm" else LEGACY
    file = exported(torch_model(request.param), exporter, folder)
    return request.param, converted_in_blocks(file, folder)


def test_it_is_proven_and_all_in_its_blocks(converted: tuple[str, onnx2mvit.Conversion]) -> None:
    source, result = converted
    kinds = [block.kind for block in result.blocks]
    first = (
        ["PatchEmbedding", "LayerNorm"] if source == "huggingface" else ["NormalizedPatchEmbedding"]
    )
    assert kinds == [*first, *STAGES]
    stages = [block for block in result.blocks if block.kind == "SwinStage"]
    assert [[block.shift for block in stage.children] for stage in stages] == [[0, 2], [0, 0]]
    assert {stage.depth for stage in stages} == {2} and stages[0].num_heads == 2
    assert stages[0].window_size == 4
    assert stages[0].qkv_bias == (source != "huggingface")


PYRAMIDS = {
    "timm": ("proj", "last"),
    "ml-cvnets": ("layers.0.0", "last"),
    "huggingface": ("encoder.layers.0.blocks",),
}


def test_its_pyramid_is_found_where_it_has_images(
    converted: tuple[str, onnx2mvit.Conversion],
) -> None:
    """Images are NHWC in the file as well; timm's first stage gives tokens."""
    source, result = converted
    assert PYRAMIDS[source] == import_module(result.source).PYRAMID


@pytest.mark.parametrize("size", [64, 96])
def test_other_sizes_are_shifted_as_in_torch(
    converted: tuple[str, onnx2mvit.Conversion], size: int
) -> None:
    """The second stage has one window at the traced size, and several here."""
    source, result = converted
    model = build(result.folder, input_shape=(size, size, 3))
    assert_answers_alike(model, torch_model(source, size), (size, size))


def test_sizes_that_windows_do_not_fill_are_refused(
    converted: tuple[str, onnx2mvit.Conversion],
) -> None:
    _, result = converted
    with pytest.raises(UnsupportedError, match="windows of 4 do not fill 10×10 pixels"):
        build(result.folder, input_shape=(40, 40, 3))
    with pytest.raises(UnsupportedError, match="1×2 windows cannot be shifted"):
        build(result.folder, input_shape=(32, 64, 3))
    with pytest.raises(UnsupportedError, match="the size of the image must be known"):
        build(result.folder, input_shape=(None, None, 3))


@pytest.mark.parametrize("how", [LEGACY, pytest.param(DYNAMO, marks=pytest.mark.slow)])
@pytest.mark.parametrize("fill", ["first", "rolled"])
def test_windows_that_zeros_fill(fill: str, how: Request, tmp_path: Path) -> None:
    """As torchvision and timm do; a single column of windows is shifted along itself."""

    def at(size: tuple[int, int]) -> torch.nn.Module:
        model = Swin(Config(timm=fill == "rolled", depths=(2,), fill=fill, size=size))
        randomize(model, 0)
        return model.eval()

    result = converted_in_blocks(exported(at((40, 16)), how, tmp_path, (40, 16)), tmp_path)
    for size in [(16, 56), (72, 40)]:
        model = build(result.folder, input_shape=(*size, 3))
        assert_answers_alike(model, at(size), size)


def test_a_side_of_one_window_may_stay_unshifted(tmp_path: Path) -> None:
    """As Hugging Face has it; with more windows on both sides they are shifted again."""

    def at(size: tuple[int, int]) -> torch.nn.Module:
        model = Swin(Config(depths=(2,), still=True, size=size))
        randomize(model, 0)
        return model.eval()

    result = converted_in_blocks(exported(at((32, 16)), LEGACY, tmp_path, (32, 16)), tmp_path)
    for size in [(16, 48), (32, 48)]:
        model = build(result.folder, input_shape=(*size, 3))
        assert_answers_alike(model, at(size), size)


def test_stages_that_are_given_are_images(tmp_path: Path) -> None:
    """As timm's `features_only=True`: merging reads the pixels of what is given as an image."""
    model = Swin(Config(timm=True, pyramid=True))
    randomize(model, 0)
    network = onnx2mvit.inspect(exported(model.eval(), LEGACY, tmp_path))
    kinds = [block.kind for block in network.blocks]
    assert kinds == ["NormalizedPatchEmbedding", "SwinStage", "PatchMerging", "SwinStage"]
    for output in network.graph.outputs:
        assert network.axes[output][1:] == ("height", "width", "channels")


def test_tables_are_learned_in_training(
    converted: tuple[str, onnx2mvit.Conversion], tmp_path: Path
) -> None:
    _, result = converted
    model: Any = build(result.folder, num_classes=10)
    tables = [w for w in model.trainable_weights if w.path.endswith("embeddings")]
    assert [table.shape for table in tables][:2] == [(49, 2), (49, 2)]
    before = np.array(tables[1])
    model.compile(keras.optimizers.SGD(1.0), "mse", run_eagerly=True)
    model.fit(np.random.default_rng(0).uniform(size=(2, 32, 32, 3)), np.zeros((2, 10)), verbose=0)
    assert (np.array(tables[1]) != before).any(axis=1).all()
    model.save(tmp_path / "again.keras")
    images = np.random.default_rng(0).uniform(size=(2, 32, 32, 3))
    again = keras.models.load_model(tmp_path / "again.keras")(images)
    assert (np.asarray(again) == np.asarray(model(images))).all()
