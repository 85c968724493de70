"""Vision transformers of all code bases, by both exporters, converted and compared."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    DeiTConfig,
    DeiTForImageClassification,
    DeiTForImageClassificationWithTeacher,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

import onnx2mvit
from onnx2mvit import inspect
from onnx2mvit.builder.build import build
from onnx2mvit.errors import UnsupportedError
from onnx2mvit.exporter.torch_export import Request
from tests.support import networks
from tests.support.networks import assert_answers_alike, exported
from tests.support.torch_vit import Config, ViT, gelu_new, gelu_tanh, quick_gelu, randomize

pytestmark = pytest.mark.xdist_group("vit")

SMALL: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 96,
    "image_size": 48,
    "patch_size": 8,
    "num_labels": 5,
}
DYNAMO, LEGACY = Request("dynamo", 20, True, True), Request("legacy", 17, True, True)


class HuggingFace(torch.nn.Module):
    """One of Hugging Face's classes; `pick` takes tensors from what it answers."""

    def __init__(self, model: Any, pick: Callable[[Any], Any]) -> None:
        super().__init__()
        self.inner, self.pick = model, pick
        randomize(self, 0)
        self.eval()

    def forward(self, pixel_values: torch.Tensor) -> Any:
        return self.pick(self.inner(pixel_values))


MODELS: dict[str, tuple[Any, Any, Callable[[Any], Any]]] = {
    "vit": (ViTForImageClassification, ViTConfig, lambda out: out.logits),
    "vit model": (ViTModel, ViTConfig, lambda out: (out.last_hidden_state, out.pooler_output)),
    "deit": (DeiTForImageClassification, DeiTConfig, lambda out: out.logits),
    "deit with teacher": (
        DeiTForImageClassificationWithTeacher,
        DeiTConfig,
        lambda out: (out.logits, out.cls_logits, out.distillation_logits),
    ),
}


def hugging_face(name: str, **config: Any) -> HuggingFace:
    model, configuration, pick = MODELS[name]
    return HuggingFace(model(configuration(**SMALL | config)), pick)


def converted(file: Path, folder: Path, **options: Any) -> onnx2mvit.Conversion:
    result = networks.converted(file, folder, **options, nodes=40)
    compared = {block["kind"] for block in result.report["verification"]["blocks"]}
    assert {"TransformerLayer", "MultiHeadAttention", "Conv2D"} <= compared
    assert result.report["model"]["layout_transposes"] == 0
    return result


def kinds(result: onnx2mvit.Conversion) -> list[str]:
    return [block.kind for block in result.blocks]


LAYERS = ["TransformerLayer"] * 2
EAGER: dict[str, Any] = {"attn_implementation": "eager"}
REQUESTS: dict[str, tuple[Request, dict[str, Any]]] = {
    "dynamo18": (Request("dynamo", 18, True, True), {}),
    "dynamo20-raw": (Request("dynamo", 20, False, True), {"qkv_bias": False}),
    "dynamo23": (Request("dynamo", 23, True, False), {}),
    "legacy11": (Request("legacy", 11, True, True), EAGER),
    "legacy13-bn": (Request("legacy", 13, False, True), EAGER | {"hidden_act": "gelu_new"}),
    "legacy17": (LEGACY, {}),
    "legacy20": (Request("legacy", 20, True, False), {"hidden_act": "gelu_pytorch_tanh"}),
}


# The others have what is between these opsets.
FAST = {"dynamo23", "legacy11", "legacy13-bn", "legacy20"}
MARKED = [case if case in FAST else pytest.param(case, marks=pytest.mark.slow) for case in REQUESTS]


@pytest.mark.parametrize("case", MARKED)
def test_hugging_faces_vit(case: str, tmp_path: Path) -> None:
    request, config = REQUESTS[case]
    result = converted(
        exported(hugging_face("vit", **config), request, tmp_path, (48, 48)), tmp_path
    )
    assert kinds(result) == ["ViTEmbeddings", *LAYERS, "LayerNorm", "TokenClassifier"]
    assert [block.name for block in result.blocks] == [
        "embeddings", "layers.0", "layers.1", "layernorm", "classifier"
    ]  # fmt: skip
    activation = "gelu_tanh" if "hidden_act" in config else "gelu"
    assert {block.activation for block in result.blocks[1:3]} == {activation}
    assert result.model.output_shape == (None, 5)


HEADS: dict[str, tuple[Request, list[str]]] = {
    "vit model": (DYNAMO, ["LayerNorm", "Pooler"]),
    "deit": (LEGACY, ["LayerNorm", "TokenClassifier"]),
    "deit with teacher": (LEGACY, ["LayerNorm", "TokenClassifier", "TokenClassifier", "Average"]),
}


@pytest.mark.parametrize("name", HEADS)
def test_hugging_faces_heads(name: str, tmp_path: Path) -> None:
    request, head = HEADS[name]
    result = converted(exported(hugging_face(name), request, tmp_path, (48, 48)), tmp_path)
    assert kinds(result) == ["ViTEmbeddings", *LAYERS, *head]
    assert result.blocks[0].prefix_tokens == (1 if name == "vit model" else 2)


VARIANTS: dict[str, tuple[Config, Request, list[str], dict[str, Any]]] = {
    "registers and layer scale": (
        Config(prefix=(1, 4), positions="patches", layer_scale=True),
        LEGACY,
        ["ViTEmbeddings", *LAYERS, "LayerNorm", "TokenClassifier"],
        {"tokens_without_position": 5, "layer_scale": True, "start": 0},
    ),
    "mean of the patches, quick gelu": (
        Config(prefix=(2,), head="mean", activation=quick_gelu),
        LEGACY,
        ["ViTEmbeddings", *LAYERS, "LayerNorm", "TokenClassifier"],
        {"prefix_tokens": 2, "activation": "gelu_sigmoid", "pooling": "mean", "start": 2},
    ),
    "no class token, gelu as in GPT": (
        Config(prefix=(), head="mean", activation=gelu_new, attention="scale on q"),
        Request("legacy", 13, False, True),
        ["ViTEmbeddings", *LAYERS, "LayerNorm", "TokenClassifier"],
        {"activation": "gelu_tanh", "pooling": "mean", "start": 0},
    ),
    "distilled, no bias on query, key and value": (
        Config(prefix=(1, 1), head="distilled", qkv_bias=False, activation=gelu_tanh),
        LEGACY,
        ["ViTEmbeddings", *LAYERS, "LayerNorm", "DistilledClassifier"],
        {"prefix_tokens": 2, "activation": "gelu_tanh", "num_classes": 7},
    ),
    "the stem of ml-cvnets": (
        Config(stem="convs", positions="patches", head="cut", attention="gather"),
        Request("legacy", 17, False, True),
        ["ConvBnAct", "PatchEmbedding", "PositionEmbedding", "ClassToken", *LAYERS,
         "LayerNorm", "TokenClassifier"],
        {"padding": None, "num_positions": 24, "num_tokens": 1, "start": 0},
    ),
}  # fmt: skip


@pytest.mark.parametrize("dynamo", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_read_off_the_file(name: str, dynamo: bool, tmp_path: Path) -> None:
    config, request, blocks, expected = VARIANTS[name]
    request = DYNAMO if dynamo else request
    result = converted(exported(ViT(config), request, tmp_path, config.size), tmp_path)
    assert kinds(result) == blocks
    params: dict[str, Any] = {}
    for block in result.blocks:
        params |= block.params
    assert params | expected == params


@pytest.mark.parametrize("image_size", [(64, 64), "any"])
def test_positions_without_a_grid_are_for_one_size(image_size: Any, tmp_path: Path) -> None:
    config = Config(stem="convs", positions="patches", depth=1)
    file = exported(ViT(config), LEGACY, tmp_path, config.size)
    with pytest.raises(UnsupportedError, match="has numbers for 24 places") as error:
        onnx2mvit.convert(file, tmp_path, image_size=image_size)
    assert error.value.exit_code == 4


@pytest.fixture(scope="module")
def resizable(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A small DeiT in torch, and the file of it."""
    torch_model = hugging_face("deit", num_hidden_layers=1)
    folder = tmp_path_factory.mktemp("deit")
    return torch_model.inner, exported(torch_model, LEGACY, folder, (48, 48))


SIZES = [(48, 48), (32, 72), (72, 72), (50, 95)]


def test_positions_are_resampled_as_hugging_face_does(
    resizable: tuple[Any, Path], tmp_path: Path
) -> None:
    import keras

    torch_model, file = resizable
    result = networks.converted(file, tmp_path, nodes=30, image_size=(72, 72))
    for size in SIZES:
        model = build(result.folder, input_shape=(*size, 3))
        assert_answers_alike(model, torch_model, size, interpolate_pos_encoding=True)
    model = result.model
    (table,) = [w for w in model.trainable_weights if "position_embedding" in w.path]
    assert table.shape == (6 * 6 + 2, 24)
    before = np.array(table)
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(np.ones((2, 72, 72, 3)), np.zeros((2, 5)), verbose=0)
    assert (np.array(table) != before).any(axis=1).all()
    model.save(tmp_path / "again.keras")
    images = np.random.default_rng(0).uniform(size=(2, 72, 72, 3))
    again = keras.models.load_model(tmp_path / "again.keras")(images)
    assert (np.asarray(again) == np.asarray(model(images))).all()


def test_one_model_for_all_sizes(resizable: tuple[Any, Path], tmp_path: Path) -> None:
    torch_model, file = resizable
    result = networks.converted(file, tmp_path, nodes=30, image_size="any")
    assert result.model.input_shape == (None, None, None, 3)
    assert "class Unfold" not in result.source.read_text(encoding="utf-8")
    for size in SIZES:
        assert_answers_alike(result.model, torch_model, size, interpolate_pos_encoding=True)


@pytest.mark.parametrize(
    "exporter", ["dynamo.dynb", pytest.param("legacy17.bn.dynb", marks=pytest.mark.slow)]
)
def test_timms_exports(exporter: str, filled: Callable[[str], Path], tmp_path: Path) -> None:
    file = filled(f"timm-vit_tiny_patch16_224.{exporter}")
    if exporter == "dynamo.dynb":
        assert inspect(file).coverage.percent == 100
        return
    result = converted(file, tmp_path)
    layer = {"num_heads": 3, "mlp_ratio": 4, "activation": "gelu", "attention_bias": True}
    assert all(block.params == layer | {"epsilon": 1e-6} for block in result.blocks[1:13])
    assert result.blocks[0].params == {
        "dim": 192, "patch_size": 16, "use_bias": True, "grid": (14, 14), "prefix_tokens": 1,
    }  # fmt: skip
