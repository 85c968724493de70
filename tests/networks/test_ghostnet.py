"""GhostNet and V2 as torch's exporters write them: converted, at other sizes, trained."""

from pathlib import Path

import pytest

import onnx2mvit
from onnx2mvit.builder.build import build
from onnx2mvit.exporter.torch_export import Request
from tests.support import networks
from tests.support.torch_ghostnet import GhostNet
from tests.support.torch_vit import randomize

pytestmark = pytest.mark.xdist_group("ghostnet")

KINDS = ["ConvBnAct", *5 * ["GhostBottleneck"], "Classifier"]


def torch_model() -> GhostNet:
    model = GhostNet()
    randomize(model, 0)
    return model.eval()


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> onnx2mvit.Conversion:
    folder = tmp_path_factory.mktemp("ghostnet")
    exporter = Request("legacy", 17, False, True)
    return networks.converted(networks.exported(torch_model(), exporter, folder), folder)


def test_it_is_proven_and_all_in_its_blocks(converted: onnx2mvit.Conversion) -> None:
    assert [block.kind for block in converted.blocks] == KINDS


@pytest.mark.slow
@pytest.mark.parametrize("optimize", [True, False])
def test_dynamo_gives_the_same_tree(
    converted: onnx2mvit.Conversion, optimize: bool, tmp_path: Path
) -> None:
    exporter = Request("dynamo", 20, optimize, True)
    network = onnx2mvit.inspect(networks.exported(torch_model(), exporter, tmp_path))
    assert network.coverage.percent == 100
    assert networks.tree(network.blocks) == networks.tree(converted.blocks)


def test_other_sizes_answer_as_torch(converted: onnx2mvit.Conversion, tmp_path: Path) -> None:
    """At 44 and 60 pixels gates of 5 and 7 are stretched to 11 and 15."""
    fixed = build(converted.folder, input_shape=(44, 60, 3))
    file = networks.exported(torch_model(), Request("legacy", 17, True, True), tmp_path)
    free = networks.converted(file, tmp_path, image_size="any").model
    for model in (fixed, free):
        networks.assert_answers_alike(model, torch_model(), (44, 60))


@pytest.mark.slow
def test_it_deploys_and_trains(converted: onnx2mvit.Conversion, tmp_path: Path) -> None:
    networks.assert_deploys(converted, tmp_path)
    networks.assert_trains(build(converted.folder))
