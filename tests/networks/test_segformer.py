"""SegFormer and PVT v2 as torch's exporters write them: converted, at other sizes; near misses."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import onnx2mvit
from onnx2mvit.builder.build import build
from onnx2mvit.exporter.torch_export import Request
from tests.support import networks
from tests.support.texts import every
from tests.support.torch_segformer import PVT, Layer, SegFormer
from tests.support.torch_vit import randomize

pytestmark = pytest.mark.xdist_group("segformer")

LEGACY, DYNAMO = Request("legacy", 17, False, True), Request("dynamo", 20, True, True)
SIZE = (32, 48)


def torch_model() -> SegFormer:
    model = SegFormer()
    randomize(model, 0)
    return model.eval()


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> onnx2mvit.Conversion:
    folder = tmp_path_factory.mktemp("segformer")
    file = networks.exported(torch_model(), LEGACY, folder, SIZE)
    return networks.converted(file, folder, image_size="any")


def test_it_is_proven_and_all_in_its_blocks(converted: onnx2mvit.Conversion) -> None:
    kinds = [block.kind for block in converted.blocks]
    assert kinds == ["MixTransformerStage", "MixTransformerStage", "SegFormerHead"]
    first, second, head = converted.blocks
    assert (first.kernel_size, first.strides, first.depth, first.reduction) == (7, 4, 2, 4)
    assert (second.dim, second.num_heads, second.reduction) == (12, 2, 1)
    assert (first.mlp_ratio, first.proj_epsilon, first.epsilon) == (2, 1e-6, 1e-5)
    assert (head.num_classes, head.filters, head.activation) == (5, 16, "relu")
    assert converted.report["verification"]["mean_iou"] == 1
    assert converted.report["model"]["layout_transposes"] == 0


@pytest.mark.slow
def test_dynamo_gives_the_same_tree_with_its_normalization_folded(
    converted: onnx2mvit.Conversion, tmp_path: Path
) -> None:
    network = onnx2mvit.inspect(networks.exported(torch_model(), DYNAMO, tmp_path, SIZE))
    assert networks.tree(network.blocks) == networks.tree(converted.blocks)


def test_other_sizes_answer_as_torch(converted: onnx2mvit.Conversion) -> None:
    networks.assert_answers_alike(converted.model, torch_model(), (40, 56))


def test_called_by_itself_it_is_not_trained(converted: onnx2mvit.Conversion) -> None:
    """Keras's layer Resizing says so to all that come after it."""
    model = build(converted.folder, input_shape=(*SIZE, 3))
    before = [np.array(weight) for weight in model.weights]
    images = np.random.default_rng(0).uniform(size=(2, *SIZE, 3)).astype("float32")
    called = keras.ops.convert_to_numpy(model(images))
    pairs = zip(before, model.weights, strict=True)
    assert all(np.array_equal(old, np.array(new)) for old, new in pairs)
    assert np.allclose(called, model.predict(images, verbose=0), atol=1e-5)


def test_its_head_is_for_other_classes_or_none(converted: onnx2mvit.Conversion) -> None:
    other, bare = build(converted.folder, num_classes=9), build(converted.folder, include_top=False)
    assert other.output_shape[-1] == 9
    assert [each.shape[-1] for each in bare.outputs] == [12, 8]


@pytest.mark.slow
def test_it_deploys_and_trains(converted: onnx2mvit.Conversion, tmp_path: Path) -> None:
    networks.assert_deploys(converted, tmp_path)
    networks.assert_trains(build(converted.folder, input_shape=(*SIZE, 3)), idle="key/bias")


@pytest.mark.parametrize("how", [LEGACY, pytest.param(DYNAMO, marks=pytest.mark.slow)])
def test_a_backbone_alone_gives_tokens_to_its_classifier(how: Request, tmp_path: Path) -> None:
    model = PVT()
    randomize(model, 1)
    result = networks.converted(networks.exported(model.eval(), how, tmp_path, SIZE), tmp_path)
    kinds = [block.kind for block in result.blocks]
    assert kinds == ["MixTransformerStage", "ImageToTokens", "TokenClassifier"]
    assert result.blocks[0].activation == "gelu_tanh"


class Changed(nn.Module):
    """A backbone of which a part is another."""

    def __init__(self, change: Callable[[Layer], None]) -> None:
        super().__init__()
        self.net = PVT()
        for layer in self.net.stage.layers:
            assert isinstance(layer, Layer)
            change(layer)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(x)
        return y


def unscaled(layer: Layer) -> None:
    layer.attention.scale = 1.0


def wide(layer: Layer) -> None:
    layer.dwconv = nn.Conv2d(16, 16, 5, 1, 2, groups=16)


def dense(layer: Layer) -> None:
    layer.dwconv = nn.Conv2d(16, 16, 3, 1, 1)


def overlapping(layer: Layer) -> None:
    layer.attention.reduced = nn.Conv2d(8, 8, 3, 2, 1)


def active(layer: Layer) -> None:
    layer.dwconv = nn.Sequential(layer.dwconv, nn.ReLU())


@pytest.mark.parametrize(
    ("change", "holds"),
    [(lambda _: None, True), (unscaled, False), (wide, False), (dense, False),
     (overlapping, False), (active, False)],
    ids=["", "no scale", "5×5", "of all channels", "patches overlap", "an activation more"],
)  # fmt: skip
def test_no_stage_by_one_detail(
    tmp_path: Path, change: Callable[[Layer], None], holds: bool
) -> None:
    model = Changed(change)
    randomize(model, 0)
    network = onnx2mvit.inspect(networks.exported(model.eval(), LEGACY, tmp_path, SIZE))
    assert bool(every(network, "MixTransformerStage")) is holds


class Mask(nn.Module):
    """Two images joined to logits, in this order."""

    def __init__(self, order: tuple[int, ...], mode: str = "bilinear") -> None:
        super().__init__()
        self.net, self.order, self.mode = SegFormer(), order, mode

    def forward(self, x: Tensor) -> Tensor:
        a = self.net.stages[0](x)
        b = self.net.stages[1](a)
        parts = []
        for image, linear in zip((a, b), self.net.linear, strict=True):
            tokens = linear(image.flatten(2).transpose(1, 2)).transpose(1, 2)
            y = tokens.reshape(x.shape[0], 16, *image.shape[2:])
            parts.append(nn.functional.interpolate(y, size=a.shape[2:], mode=self.mode))
        y = self.net.fuse(torch.cat([parts[i] for i in self.order], 1))
        made: Tensor = self.net.classifier(self.net.norm(y).relu())
        return made


@pytest.mark.parametrize(
    ("order", "mode", "holds"),
    [((1, 0), "bilinear", True), ((0, 1), "bilinear", False), ((1, 0), "nearest", False)],
)
def test_no_head_by_one_detail(
    tmp_path: Path, order: tuple[int, ...], mode: str, holds: bool
) -> None:
    model = Mask(order, mode)
    randomize(model, 0)
    network = onnx2mvit.inspect(networks.exported(model.eval(), LEGACY, tmp_path, SIZE))
    assert bool(every(network, "SegFormerHead")) is holds
