"""The same small networks as different code bases write them, by both exporters."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import onnx2mvit
from onnx2mvit import inspect
from onnx2mvit.exporter.torch_export import Request
from onnx2mvit.ir.block import Block
from tests.support.networks import assert_answers_alike, converted, exported, tree
from tests.support.torch_attention import ATTENTION
from tests.support.torch_mobilevit import ChannelLayerNorm, Config, MobileViT

pytestmark = pytest.mark.xdist_group("spellings")  # its fixtures are slow to make


# exporter, opset, BatchNormalization folded, dynamic batch
REQUESTS = [
    Request("dynamo", 18, False, False),
    Request("dynamo", 20, True, True),
    Request("dynamo", 21, True, False),
    Request("dynamo", 23, False, False),
    Request("legacy", 11, True, True),
    Request("legacy", 13, False, True),
    Request("legacy", 17, False, False),
    Request("legacy", 17, True, True),
]
FEW = [
    Request("dynamo", 18, False, False),
    Request("dynamo", 20, True, False),
    Request("legacy", 11, True, True),
]
CODE_BASES = ("gather", "chunks", "fused", "hf")
OTHERS = tuple(sorted(set(ATTENTION) - set(CODE_BASES)))
SDPA_FROM = 14  # the first opset in which legacy can write torch's own attention


def slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


def name(request: Request) -> str:
    bn = "folded" if request.fold_bn else "kept"
    batch = "dynb" if request.dynamic_batch else "static"
    return f"{request.exporter}{request.opset}-{bn}-{batch}"


def written(config: Config, request: Request, folder: Path) -> Path:
    return exported(MobileViT(config), request, folder, config.size)


def names(blocks: Sequence[Block]) -> list[str]:
    layers = [block for top in blocks for block in top.walk()]
    return [block.name for block in layers if block.kind != "BatchNorm"]


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Sequence[Block]]:
    """The network of this depth with attention as Hugging Face writes it."""

    @cache
    def make(depth: int) -> Sequence[Block]:
        folder = tmp_path_factory.mktemp("usual")
        file = written(Config(("hf",) * depth), Request("legacy", 17, False, True), folder)
        return inspect(file).blocks

    return make


@pytest.mark.parametrize(
    ("spellings", "request_of"),
    [
        *((CODE_BASES, request_of) for request_of in REQUESTS[::6]),
        *((OTHERS, request_of) for request_of in FEW[2:]),
        *(slow(CODE_BASES, each) for each in REQUESTS if each not in REQUESTS[::6]),
        *(slow(OTHERS, request_of) for request_of in FEW[1:2]),
    ],
    ids=lambda value: name(value) if isinstance(value, Request) else "-".join(value),
)
def test_attention_in_any_spelling_is_the_same_network(
    spellings: tuple[str, ...],
    request_of: Request,
    usual: Callable[[int], Sequence[Block]],
    tmp_path: Path,
) -> None:
    depth = len(spellings)
    if request_of.opset < SDPA_FROM:
        spellings = tuple("gather" if each == "fused" else each for each in spellings)
    result = converted(written(Config(spellings), request_of, tmp_path), tmp_path)
    assert tree(result.blocks) == tree(usual(depth))
    assert names(result.blocks) == names(usual(depth))
    assert result.report["batch_normalization"] == ("folded" if request_of.fold_bn else "kept")


VARIANTS: dict[str, tuple[Config, dict[str, Any], dict[str, Any]]] = {
    "patch 4, kernel 5, four heads, relu": (
        Config(("gather",), patch=4, kernel=5, heads=4, mlp_ratio=1.5, activation=nn.ReLU),
        {"patch_size": 4, "kernel_size": 5, "num_heads": 4, "mlp_ratio": 1.5, "activation": "relu"},
        {"kernel_size": 5, "expansion": 2, "activation": "relu"},
    ),
    "no fusion, no bias, expansion 3, hard swish": (
        Config(
            ("scale on q and k",),
            fusion=False,
            attention_bias=False,
            expansion=3,
            activation=nn.Hardswish,
            dropout=0,
        ),
        {"fusion": False, "attention_bias": False, "activation": "hard_silu"},
        {"expansion": 3, "activation": "hard_silu"},
    ),
    "a dilated feature extractor, no expansion, relu6": (
        Config(("chunks",), heads=3, classes=None, dilation=2, expansion=1, activation=nn.ReLU6),
        {"num_heads": 3, "activation": "relu6"},
        {"dilation": 2, "strides": 1, "expansion": None, "activation": "relu6"},
    ),
    "no normalization, one head, an odd expansion, gelu": (
        Config(("sections",), norm=False, heads=1, expansion=2.6, mlp_ratio=4, activation=nn.GELU),
        {"num_heads": 1, "mlp_ratio": 4, "activation": "gelu"},
        {"expansion": 2.6, "activation": "gelu"},
    ),
    "patches that do not fill the image": (
        Config(("hf",), patch=3, size=(36, 44), classes=3),
        {"patch_size": 3},
        {"expansion": 2},
    ),
}


@pytest.mark.parametrize("request_of", [*map(slow, FEW[:2]), FEW[2]], ids=name)
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_is_read_off_the_file(variant: str, request_of: Request, tmp_path: Path) -> None:
    config, expected, expected_of_residual = VARIANTS[variant]
    file = written(config, request_of, tmp_path)
    result = converted(file, tmp_path)
    residual, mobilevit = result.blocks[2:4]
    assert [block.kind for block in result.blocks] == [
        "ConvBnAct",
        "InvertedResidual",
        "InvertedResidual",
        "MobileViTBlock",
        "ConvBnAct",
        *(["Classifier"] if config.classes is not None else []),
    ]
    default = {"dim": 24, "depth": 1, "num_heads": 2, "patch_size": 2, "fusion": True}
    assert mobilevit.params | default | expected == mobilevit.params
    assert residual.params | expected_of_residual == residual.params
    stride = 1 if config.dilation == 2 else 2
    assert residual.strides == stride
    height, width = (length // 2 // stride for length in config.size)
    head = (config.classes,) if config.classes is not None else (height, width, 32)
    assert result.model.output_shape == (None, *head)


def test_names_are_those_of_the_modules(tmp_path: Path) -> None:
    network = inspect(written(Config(("gather",)), Request("legacy", 17, True, True), tmp_path))
    assert {
        "conv_1",
        "layer_1.0",
        "layer_1.0.block.exp_1x1",
        "layer_3.1",
        "layer_3.1.local_rep.conv_3x3",
        "layer_3.1.global_rep.0",
        "layer_3.1.global_rep.0.pre_norm_mha.0",
        "layer_3.1.global_rep.0.pre_norm_mha.1",
        "layer_3.1.global_rep.0.pre_norm_ffn.4",
        "layer_3.1.global_rep.1",
        "layer_3.1.conv_proj",
        "layer_3.1.fusion",
        "conv_1x1_exp",
        "classifier",
        "classifier.fc",
    } <= set(names(network.blocks))


@pytest.mark.parametrize("request_of", [slow(FEW[1]), FEW[2]], ids=name)
def test_a_norm_over_the_tokens_is_not_a_layer_norm(request_of: Request, tmp_path: Path) -> None:
    config = Config(("gather",), dim=16, layer_norm=ChannelLayerNorm)  # 16 tokens a sequence
    file = written(config, request_of, tmp_path)
    kinds = {block.kind for top in inspect(file).blocks for block in top.walk()}
    assert not kinds & {"LayerNorm", "TransformerLayer", "MobileViTBlock"}
    # Without the block around them its unfold and fold are operators like the norm.
    assert not kinds & {"Unfold", "Fold"}
    result = onnx2mvit.convert(file, tmp_path / "out", inputs=2)
    assert result.passed
    assert result.report["coverage"]["single_ops"] > 20
    assert result.report["coverage"]["unsupported"] == 0


def test_the_same_norm_is_one_where_tokens_are_not_channels(tmp_path: Path) -> None:
    config = Config(("gather",), dim=24, layer_norm=ChannelLayerNorm)
    usual = Config(("hf",), dim=24)
    trees = [
        tree(inspect(written(each, Request("legacy", 17, False, False), tmp_path)).blocks)
        for each in (config, usual)
    ]
    assert trees[0] == trees[1]


def test_it_answers_as_torch_does(tmp_path: Path) -> None:
    config = Config(("chunks", "gather"))
    file = written(config, Request("legacy", 17, False, False), tmp_path)
    model = converted(file, tmp_path).model
    assert_answers_alike(model, MobileViT(config), config.size)
