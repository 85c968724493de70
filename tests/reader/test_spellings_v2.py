"""Small networks of MobileViTv2 as different code bases write them, by both exporters."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from torch import nn

import onnx2mvit
from onnx2mvit import inspect
from onnx2mvit.exporter.torch_export import Request
from tests.reader.test_spellings import name, names
from tests.support.networks import Tree, assert_answers_alike, converted, exported, tree
from tests.support.torch_mobilevitv2 import CODE_BASES, ConfigV2, MobileViTV2

pytestmark = pytest.mark.xdist_group("spellings of v2")

CASES = [
    ("hf", Request("dynamo", 18, False, False)),
    ("cvnets", Request("dynamo", 21, True, True)),
    ("cvnets for mobile", Request("dynamo", 23, True, False)),
    ("cvnets for mobile", Request("legacy", 11, True, True)),
    ("timm", Request("legacy", 13, False, False)),
    ("timm exportable", Request("legacy", 17, False, True)),
]
UNEVEN = (36, 44)  # 9×11 where there are patches of 2×2


def written(config: ConfigV2, request: Request, folder: Path) -> Path:
    return exported(MobileViTV2(config), request, folder, config.size)


def filled(blocks: Tree) -> Tree:
    """The tree without what depends on how an uneven size is filled."""
    return [
        (kind, {k: v for k, v in params.items() if k not in ("stretch", "zeros")}, filled(children))
        for kind, params, children in blocks
        if kind != "FillPatches"
    ]


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network as timm writes it, where patches fill the image."""
    folder = tmp_path_factory.mktemp("usual")
    return written(CODE_BASES["timm"], Request("legacy", 17, False, True), folder)


@pytest.mark.parametrize(
    ("code_base", "request_of"),
    [
        pytest.param(*case, marks=() if case in (CASES[0], CASES[4]) else pytest.mark.slow)
        for case in CASES
    ],
    ids=lambda value: name(value) if isinstance(value, Request) else value,
)
def test_where_patches_do_not_fill_the_image_it_is_the_same_network(
    code_base: str, request_of: Request, usual: Path, tmp_path: Path
) -> None:
    config = replace(CODE_BASES[code_base], size=UNEVEN)
    result = converted(written(config, request_of, tmp_path), tmp_path)
    reference = inspect(usual)
    assert filled(tree(result.blocks)) == filled(tree(reference.blocks))
    assert set(names(result.blocks)) == set(names(reference.blocks))
    assert result.blocks[-2].stretch == (code_base != "hf")
    assert result.report["model"]["layout_transposes"] == 0


@pytest.mark.parametrize("code_base", ["hf", "timm"])
def test_it_answers_as_torch_at_any_size(code_base: str, usual: Path, tmp_path: Path) -> None:
    config, file = CODE_BASES[code_base], usual
    if code_base == "hf":
        file = written(config, Request("dynamo", 20, False, False), tmp_path)
    torch_model = MobileViTV2(config)
    any_size = onnx2mvit.convert(file, tmp_path / "any", verify=False, image_size="any")
    fixed = onnx2mvit.convert(file, tmp_path / "fixed", verify=False, image_size=UNEVEN)
    loaded = keras.models.load_model(fixed.folder / "net.keras")
    for model, size in [
        *((any_size.model, size) for size in (config.size, UNEVEN, (68, 40))),
        (loaded, UNEVEN),
    ]:
        assert_answers_alike(model, torch_model, size)


VARIANTS: dict[str, tuple[ConfigV2, dict[str, Any]]] = {
    "two layers, patch 4, kernel 5, relu": (
        ConfigV2(patch=4, kernel=5, depth=2, mlp_ratio=1.5, activation=nn.ReLU, fold="shuffle"),
        {"patch_size": 4, "kernel_size": 5, "depth": 2, "mlp_ratio": 1.5, "activation": "relu"},
    ),
    "dilated, without normalization and biases, patch 3, gelu": (
        ConfigV2(
            depth=2,
            patch=3,
            dilation=2,
            norm=False,
            bias=False,
            activation=nn.GELU,
            unfold="reshape",
            fold="reshape",
            size=(36, 48),
        ),
        {"patch_size": 3, "dilation": 2, "transformer_bias": False, "activation": "gelu"},
    ),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_is_read_off_the_file(variant: str, tmp_path: Path) -> None:
    config, expected = VARIANTS[variant]
    result = converted(written(config, Request("legacy", 17, False, True), tmp_path), tmp_path)
    block = result.blocks[-2]
    assert block.kind == "MobileViTV2Block"
    assert block.params | {"dim": config.dim, "filters": 16} | expected == block.params


def test_names_are_those_of_the_modules(usual: Path) -> None:
    assert {
        "layer_3.0",
        "layer_3.1",
        "layer_3.1.local_rep.0",
        "layer_3.1.local_rep.1",
        "layer_3.1.global_rep.0",
        "layer_3.1.global_rep.0.pre_norm_attn.0",
        "layer_3.1.global_rep.0.pre_norm_attn.1",
        "layer_3.1.global_rep.0.pre_norm_attn.1.qkv_proj",
        "layer_3.1.global_rep.0.pre_norm_ffn.1",
        "layer_3.1.global_rep.0.pre_norm_ffn.3",
        "layer_3.1.global_rep.1",
        "layer_3.1.conv_proj",
        "classifier.1",
    } <= set(names(inspect(usual).blocks))


def test_it_trains(usual: Path, tmp_path: Path) -> None:
    model = onnx2mvit.convert(usual, tmp_path, verify=False, image_size=UNEVEN).model
    before = [keras.ops.convert_to_numpy(variable) for variable in model.trainable_variables]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, run_eagerly=True)
    images = np.random.default_rng(0).uniform(size=(4, *UNEVEN, 3)).astype(np.float32)
    model.fit(images, np.arange(4), verbose=0)
    for variable, old in zip(model.trainable_variables, before, strict=True):
        assert (keras.ops.convert_to_numpy(variable) != old).any(), variable.path
