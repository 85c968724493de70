"""ConvNeXt V1 and V2 as torch's exporters write them: converted, at other sizes, trained."""

from pathlib import Path

import pytest

import onnx2mvit
from onnx2mvit.builder.build import build
from onnx2mvit.exporter.torch_export import Request
from tests.support import networks
from tests.support.torch_convnext import ConvNeXt
from tests.support.torch_vit import randomize

pytestmark = pytest.mark.xdist_group("convnext")

LEGACY = Request("legacy", 17, False, True)
BLOCKS = [
    "PatchifyStem", "ConvNeXtBlock", "ConvNeXtBlock", "ConvNeXtDownsampling",
    "ConvNeXtBlock", "ConvNeXtBlock", "ConvNeXtBlock", "ConvNeXtBlock", "ConvNeXtBlock",
    "NormalizedClassifier",
]  # fmt: skip


def torch_model(head: str = "pixel") -> ConvNeXt:
    model = ConvNeXt(head)
    randomize(model, 0)
    return model.eval()


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> onnx2mvit.Conversion:
    folder = tmp_path_factory.mktemp("convnext")
    return networks.converted(networks.exported(torch_model(), LEGACY, folder), folder)


def test_it_is_proven_and_all_in_its_blocks(converted: onnx2mvit.Conversion) -> None:
    assert [block.kind for block in converted.blocks] == BLOCKS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("exporter", "head"),
    [(Request("dynamo", 20, False, True), "pixel"), (Request("legacy", 13, True, True), "vector")],
    ids=["dynamo", "legacy, opset 13"],
)
def test_every_exporter_gives_the_same_tree(
    converted: onnx2mvit.Conversion, exporter: Request, head: str, tmp_path: Path
) -> None:
    network = onnx2mvit.inspect(networks.exported(torch_model(head), exporter, tmp_path))
    assert network.coverage.percent == 100
    assert networks.tree(network.blocks) == networks.tree(converted.blocks)


@pytest.mark.parametrize("shape", [(40, 56, 3), (None, None, 3)])
def test_other_sizes_answer_as_torch(
    converted: onnx2mvit.Conversion, shape: tuple[int | None, ...]
) -> None:
    model = build(converted.folder, input_shape=shape)
    networks.assert_answers_alike(model, torch_model(), (40, 56))


@pytest.mark.slow
def test_it_deploys_and_trains(converted: onnx2mvit.Conversion, tmp_path: Path) -> None:
    networks.assert_deploys(converted, tmp_path)
    networks.assert_trains(build(converted.folder))
