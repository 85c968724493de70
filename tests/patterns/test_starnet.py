"""StarNet's block: where it holds, where not by one detail, and what it answers."""

from pathlib import Path

import pytest
from torch import nn

import onnx2mvit
from onnx2mvit.builder.build import build
from onnx2mvit.exporter.torch_export import Request
from onnx2mvit.lifter import lift
from onnx2mvit.reader import read
from tests.support.networks import assert_answers_alike, exported, tree
from tests.support.networks import converted as converted_in_blocks
from tests.support.texts import every, nearest
from tests.support.torch_mobilevit import randomize
from tests.support.torch_starnet import Block, StarNet

pytestmark = pytest.mark.xdist_group("starnet")

KEPT, FOLDED = Request("legacy", 17, False, True), Request("legacy", 17, True, True)
SIZE, ODD = (16, 16), (22, 30)


def network(*blocks: nn.Module) -> nn.Module:
    model = StarNet(*blocks)
    randomize(model, 0, SIZE)
    return model.eval()


@pytest.fixture(scope="module")
def module() -> nn.Module:
    return network(Block(8), Block(8), Block(8, ratio=4, kernel=3))


def test_it_is_proven_and_all_in_its_blocks(module: nn.Module, tmp_path: Path) -> None:
    result = converted_in_blocks(exported(module, KEPT, tmp_path, SIZE), tmp_path, nodes=30)
    kinds = ["ConvBnAct", *3 * ["StarBlock"], "BatchNorm", "Classifier"]
    assert [block.kind for block in result.blocks] == kinds
    first, last = result.blocks[1], result.blocks[3]
    assert (first.mlp_ratio, first.kernel_size, first.activation) == (3, 7, "relu6")
    assert (last.mlp_ratio, last.kernel_size) == (4, 3)
    assert_answers_alike(build(result.folder, input_shape=(*ODD, 3)), module, ODD)
    folded = onnx2mvit.inspect(exported(module, FOLDED, tmp_path, SIZE))
    assert folded.coverage.percent == 100
    assert tree(folded.blocks) == tree(result.blocks)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("normed", "batch_norm"),
        ("kernel", "kernel_size"),
        ("input", ""),
        ("sum", "Mul expected, found <Add"),
        ("residual", ""),
    ],
)
def test_no_such_block_by_one_detail(wrong: str, reason: str, tmp_path: Path) -> None:
    graph = read(exported(network(Block(8, wrong=wrong)), KEPT, tmp_path, SIZE))
    assert not every(lift(graph), "StarBlock")
    assert reason in nearest(graph, "StarBlock")
