"""PoolFormer as torch's exporters write it: converted, at other sizes, trained."""

from pathlib import Path

import pytest

import onnx2mvit
from onnx2mvit.builder.build import build
from onnx2mvit.exporter.torch_export import Request
from tests.support import networks
from tests.support.torch_poolformer import PoolFormer
from tests.support.torch_vit import randomize

pytestmark = pytest.mark.xdist_group("poolformer")

KINDS = [
    "OverlappingPatchEmbedding", "PoolFormerBlock", "ConvBnAct", "PoolFormerBlock",
    "ConvNeXtDownsampling", "PoolFormerBlock", "GroupNorm", "Classifier",
]  # fmt: skip


def torch_model() -> PoolFormer:
    model = PoolFormer()
    randomize(model, 0)
    return model.eval()


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> onnx2mvit.Conversion:
    folder = tmp_path_factory.mktemp("poolformer")
    exporter = Request("legacy", 17, False, True)
    file = networks.exported(torch_model(), exporter, folder)
    return networks.converted(file, folder, nodes=20)


def test_it_is_proven_and_all_in_its_blocks(converted: onnx2mvit.Conversion) -> None:
    assert [block.kind for block in converted.blocks] == KINDS


@pytest.mark.slow
def test_dynamo_gives_the_same_tree(converted: onnx2mvit.Conversion, tmp_path: Path) -> None:
    file = networks.exported(torch_model(), Request("dynamo", 20, True, True), tmp_path)
    assert networks.tree(onnx2mvit.inspect(file).blocks) == networks.tree(converted.blocks)


@pytest.mark.parametrize("shape", [(41, 57, 3), (None, None, 3)])
def test_other_sizes_answer_as_torch(
    converted: onnx2mvit.Conversion, shape: tuple[int | None, ...]
) -> None:
    model = build(converted.folder, input_shape=shape)
    networks.assert_answers_alike(model, torch_model(), (41, 57))


@pytest.mark.slow
def test_it_deploys_and_trains(converted: onnx2mvit.Conversion, tmp_path: Path) -> None:
    networks.assert_deploys(converted, tmp_path)
    # What is added to all pixels alike is in the mean around them as well.
    networks.assert_trains(build(converted.folder), idle="norm1/beta")
