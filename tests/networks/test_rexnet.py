"""ReXNet as torch's exporters write it: converted, at other sizes, trained."""

from pathlib import Path

import pytest

import onnx2mvit
from onnx2mvit.builder.build import build
from onnx2mvit.exporter.torch_export import Request
from tests.support import networks
from tests.support.torch_rexnet import ReXNet
from tests.support.torch_vit import randomize

pytestmark = pytest.mark.xdist_group("rexnet")

BLOCKS = ["ConvBnAct", *["ReXNetBlock"] * 4, "Classifier"]


def torch_model() -> ReXNet:
    model = ReXNet()
    randomize(model, 0)
    return model.eval()


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> onnx2mvit.Conversion:
    folder = tmp_path_factory.mktemp("rexnet")
    file = networks.exported(torch_model(), Request("legacy", 17, False, True), folder)
    return networks.converted(file, folder, nodes=40)


def test_it_is_proven_and_all_in_its_blocks(converted: onnx2mvit.Conversion) -> None:
    assert [block.kind for block in converted.blocks] == BLOCKS
    found = [block.params for block in converted.blocks[1:-1]]
    assert [params["filters"] for params in found] == [10, 13, 16, 19]
    assert [params["strides"] for params in found] == [2, 1, 2, 1]
    assert [params.get("squeeze") for params in found] == [None, None, 4, 4]


@pytest.mark.slow
def test_folded_normalization_makes_it_plain_squeeze_and_excitation(tmp_path: Path) -> None:
    file = networks.exported(torch_model(), Request("dynamo", 20, True, True), tmp_path)
    network = onnx2mvit.inspect(file)
    assert [block.kind for block in network.blocks] == BLOCKS
    assert not any(block.params.get("squeeze_norm") for block in network.blocks)


@pytest.mark.parametrize("shape", [(41, 57, 3), (None, None, 3)])
def test_other_sizes_answer_as_torch(
    converted: onnx2mvit.Conversion, shape: tuple[int | None, ...]
) -> None:
    model = build(converted.folder, input_shape=shape)
    networks.assert_answers_alike(model, torch_model(), (41, 57))


@pytest.mark.slow
def test_it_deploys_and_trains(converted: onnx2mvit.Conversion, tmp_path: Path) -> None:
    networks.assert_deploys(converted, tmp_path)
    # What follows is normalized: what a bias adds to all images is taken away.
    networks.assert_trains(build(converted.folder), idle="se_fc1_conv/bias")
