"""MobileNets as torch's exporters write them, against torch, at other sizes too."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from torch import nn

import onnx2mvit
from onnx2mvit.builder.build import build
from onnx2mvit.exporter.torch_export import Request
from tests.support.networks import assert_answers_alike, exported
from tests.support.torch_mobile import Config, MobileNet

pytestmark = pytest.mark.xdist_group("mobile")  # its fixtures are slow to make

LEGACY = Request("legacy", 11, True, True)
CASES = {
    "cvnets": (Config(), Request("dynamo", 20, False, True)),
    "same": (Config(same=True), LEGACY),
    "linear": (Config(linear=True, gate=nn.Sigmoid, activation=nn.SiLU), LEGACY),
    "timm": (Config(head="timm"), Request("legacy", 17, False, False)),
}
NAMES = ["conv_1", "layer_1.0", "layer_1.1", "layer_2.0", "layer_2.1", "layer_3.0", "conv_1x1_exp"]


def written(config: Config, request: Request, folder: Path) -> Path:
    return exported(MobileNet(config), request, folder, config.size)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return cache(lambda case: written(*CASES[case], tmp_path_factory.mktemp(case)))


@pytest.fixture(scope="module")
def converted(file: Callable[[str], Path]) -> Callable[[str], onnx2mvit.Conversion]:
    @cache
    def convert(case: str) -> onnx2mvit.Conversion:
        return onnx2mvit.convert(file(case), file(case).parent, image_size="any", inputs=2)

    return convert


@pytest.mark.parametrize("case", CASES)
def test_however_it_is_written_it_is_the_same_network(
    case: str, file: Callable[[str], Path]
) -> None:
    network = onnx2mvit.inspect(file(case))
    assert not network.refused
    kinds = ["ConvBnAct", "DepthwiseSeparable", "DepthwiseSeparable", *3 * ["InvertedResidual"]]
    head = ["GlobalMean", "ConvBnAct"] if case == "timm" else []
    assert [b.kind for b in network.blocks] == [*kinds, "ConvBnAct", *head, "Classifier"]
    assert [block.name for block in network.blocks][:7] == NAMES
    fc = "classifier.fc" if case == "timm" else "classifier"
    assert network.blocks[-1].name == fc
    assert network.blocks[1].depthwise_activation is None
    assert [block.params.get("squeeze") for block in network.blocks[3:6]] == [None, 8, 8]
    padding = {block.padding for block in network.blocks[:6]}
    assert padding == ({"same"} if case == "same" else {None})


@pytest.mark.parametrize("case", ["cvnets", "same"])
def test_it_answers_as_onnxruntime_and_at_any_size_as_torch(
    case: str, converted: Callable[[str], onnx2mvit.Conversion]
) -> None:
    result = converted(case)
    assert result.passed
    for model in (result.model, build(result.folder, input_shape=(45, 38, 3))):
        assert_answers_alike(model, MobileNet(CASES[case][0]), (45, 38))


def test_the_emitted_module_says_how_it_pads(
    converted: Callable[[str], onnx2mvit.Conversion],
) -> None:
    said = {case: converted(case).source.read_text(encoding="utf-8") for case in ("cvnets", "same")}
    assert "    padding=None,\n" in said["cvnets"] and 'padding="same"' not in said["cvnets"]
    assert '    padding="same",\n' in said["same"] and said["same"].count('padding="same"') == 1


def test_a_network_traced_where_most_padding_is_alike_is_tensorflows(tmp_path: Path) -> None:
    # 33×34 → 17×17 → 9×9 → 5×5 → 3×3: only the first convolution tells.
    network = onnx2mvit.inspect(written(Config(same=True, size=(33, 34)), LEGACY, tmp_path))
    assert [block.padding for block in network.blocks[:6]] == ["same"] * 6
    network = onnx2mvit.inspect(written(Config(same=True, size=(33, 33)), LEGACY, tmp_path))
    assert [block.padding for block in network.blocks[:6]] == [None] * 6
