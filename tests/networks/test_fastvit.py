"""FastViT as timm and ml-cvnets spell it, with its branches and merged: converted, trained."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import onnx2mvit
from onnx2mvit.builder.build import build
from onnx2mvit.exporter.torch_export import Request
from onnx2mvit.ir.network import Network
from tests.support.networks import assert_answers_alike, exported, layers
from tests.support.networks import converted as converted_in_blocks
from tests.support.onednn import skip_where_memory_is_corrupted
from tests.support.texts import every
from tests.support.torch_fastvit import SIZE, Config, FastViT

pytestmark = pytest.mark.xdist_group("fastvit")

LEGACY, LEGACY_KEPT = Request("legacy", 17, True, False), Request("legacy", 17, False, True)
MOBILEONE = 3 * ["MobileOneBlock"]
TRAINED = [*MOBILEONE, "RepMixerBlock", "LargeKernelConv", "MobileOneBlock"]
TRAINED += ["ConditionalPositionalEncoding", "FastViTAttentionBlock", "MobileOneBlock"]
MERGED = ["ConvBnAct", "DepthwiseSeparable", "RepMixerBlock", *3 * ["ConvBnAct"]]
MERGED += ["FastViTAttentionBlock", "ConvBnAct", "SqueezeExcite", "Activation"]
CASES = {
    "timm": (Config(), TRAINED),
    "ml-cvnets": (Config(cvnets=True), TRAINED),
    "timm, without LayerScale": (Config(layer_scale=False), TRAINED),
    "ml-cvnets, without LayerScale": (Config(cvnets=True, layer_scale=False), TRAINED),
    "MobileCLIP": (Config(squeeze=True, kernel=5), TRAINED),
    "MobileCLIP2": (Config(layer_norm=True), TRAINED),
    "merged": (Config(merged=True), MERGED),
}


@pytest.mark.parametrize("case", CASES)
def test_all_of_it_is_in_the_papers_blocks_however_it_is_written(case: str, tmp_path: Path) -> None:
    config, kinds = CASES[case]
    model, found = FastViT(config), []
    for request in (LEGACY, LEGACY_KEPT) if case == "timm" else (LEGACY,):
        network = onnx2mvit.inspect(exported(model, request, tmp_path, SIZE))
        assert network.coverage.percent == 100
        assert [block.kind for block in network.blocks] == [*kinds, "Classifier"]
        found.append(layers(network.blocks))
    assert all(each == found[0] for each in found)
    scales = len(every(network, "ImageLayerScale"))
    assert scales == ((3 if config.merged else 4) if config.layer_scale else 0)
    norms = {"layer_norm" in block.params for block in every(network, "FastViTAttentionBlock")}
    assert norms == {config.layer_norm}
    if not config.merged:
        assert {block.kernel_size for block in every(network, "RepMixer")} == {config.kernel}


def test_both_exporters_hand_over_one_network(lifted: Callable[[str], Network]) -> None:
    """ml-cvnets' T8; one file has its normalization folded."""
    found = [lifted(f"cvnets-fastvit_t8.{how}") for how in ("dynamo", "legacy17bn")]
    assert all(network.coverage.percent == 100 for network in found)
    assert layers(found[0].blocks) == layers(found[1].blocks)
    kinds = Counter(block.kind for block in found[0].blocks)
    patches = {"LargeKernelConv": 3, "MobileOneBlock": 3 + 3 + 1}
    assert kinds == {"RepMixerBlock": 10, **patches, "Classifier": 1}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> onnx2mvit.Conversion:
    folder = tmp_path_factory.mktemp("fastvit")
    file = exported(FastViT(Config()), LEGACY_KEPT, folder, SIZE)
    return converted_in_blocks(file, folder, image_size="any")


def test_it_is_proven_and_called_after_its_modules(result: onnx2mvit.Conversion) -> None:
    names = [block.name for block in result.blocks]
    assert names[2:6] == ["stem.2", "mixing.0", "downsample.0", "downsample.1"]
    mixer = {child.role: child.name for child in result.blocks[3].children}
    expected = {"token_mixer": "token_mixer", "ffn": "mlp", "scale": "layer_scale"}
    assert mixer == {role: f"mixing.0.{name}" for role, name in expected.items()}
    assert result.report["model"]["layout_transposes"] == 0


@pytest.mark.parametrize("size", [(96, 64), (75, 101)])
def test_it_answers_as_torch_at_any_size(
    result: onnx2mvit.Conversion, size: tuple[int, int]
) -> None:
    assert_answers_alike(build(result.folder), FastViT(Config()), size)


@pytest.mark.slow
def test_it_learns_and_is_loaded_with_keras_alone(
    result: onnx2mvit.Conversion, tmp_path: Path
) -> None:
    skip_where_memory_is_corrupted()
    model: Any = build(result.folder, input_shape=(*SIZE, 3), num_classes=3)
    scales = [w for w in model.trainable_weights if "layer_scale" in w.path]
    before = [np.array(scale) for scale in scales]
    assert len(before) == 4
    images = np.random.default_rng(0).uniform(size=(2, *SIZE, 3)).astype("float32")
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    model.fit(images, np.zeros((2, 3)), verbose=0)
    assert all((np.array(scale) != old).any() for scale, old in zip(scales, before, strict=True))


@pytest.mark.slow
def test_merged_it_is_proven_deployed_and_of_stock_layers(tmp_path: Path) -> None:
    file = exported(FastViT(Config(merged=True, cvnets=True)), LEGACY, tmp_path, SIZE)
    result = converted_in_blocks(file, tmp_path)
    line = 'x = rep_mixer_block(x, 3, name="mixing.0")'
    assert f"    {line}\n" in result.source.read_text(encoding="utf-8")
    images = np.random.default_rng(0).uniform(size=(2, *SIZE, 3)).astype("float32")
    result.model.save(tmp_path / "again.keras")
    again = keras.models.load_model(tmp_path / "again.keras")
    assert np.array_equal(np.asarray(again(images)), np.asarray(result.model(images)))
    deployed = onnx2mvit.deploy(result.folder, tmp_path / "deployed", onnx=file, inputs=2)
    assert deployed.passed
