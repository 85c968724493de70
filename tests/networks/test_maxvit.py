"""MaxViT as torch's exporters write it: converted, at another size, trained; near misses."""

from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor, nn

import onnx2mvit
from onnx2mvit.builder.build import build
from onnx2mvit.exporter.torch_export import Request
from tests.support import networks
from tests.support.texts import every
from tests.support.torch_maxvit import Block, MaxViT
from tests.support.torch_vit import randomize

pytestmark = pytest.mark.xdist_group("maxvit")

LEGACY = Request("legacy", 17, False, True)
KINDS = [
    *("ConvBnAct", "ConvNeXtBlock", "MultiAxisAttention"),
    *("ShortcutConvNeXtBlock", "MultiAxisAttention"),
    *("ShortcutConvNeXtBlock", "LastMultiAxisAttention", "LayerNorm", "MeanClassifier"),
]


def torch_model() -> MaxViT:
    model = MaxViT()
    randomize(model, 0)
    return model.eval()


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> onnx2mvit.Conversion:
    folder = tmp_path_factory.mktemp("maxvit")
    return networks.converted(networks.exported(torch_model(), LEGACY, folder), folder)


def test_it_is_proven_and_all_in_its_blocks(converted: onnx2mvit.Conversion) -> None:
    kinds = [block.kind for block in converted.blocks]
    assert kinds == KINDS
    (first, second, third) = (block for block in converted.blocks if "Multi" in block.kind)
    assert (first.num_heads, first.window_size, first.activation) == (2, 2, "gelu_tanh")
    assert (second.num_heads, second.layer_scale) == (1, True)
    groups = [child.params.get("groups") for block in (first, third) for child in block.children]
    assert groups == ["windows", "grid", None, None]
    assert all("pairwise" not in block.params for block in (first, second, third))


def test_another_size_answers_as_torch(converted: onnx2mvit.Conversion) -> None:
    model = build(converted.folder, input_shape=(64, 32, 3))
    networks.assert_answers_alike(model, torch_model(), (64, 32))


@pytest.mark.slow
def test_it_deploys_and_trains(converted: onnx2mvit.Conversion, tmp_path: Path) -> None:
    networks.assert_deploys(converted, tmp_path)
    networks.assert_trains(build(converted.folder), idle="key/bias")


class Changed(nn.Module):
    """A block of which a part is another."""

    def __init__(self, change: Callable[[Block], None]) -> None:
        super().__init__()
        self.stem, self.block = nn.Conv2d(3, 8, 4, 4), Block(nn.ReLU(), 8, 2)
        change(self.block)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(self.stem(x))
        return y


def test_a_block_without_layer_scale_is_proven(tmp_path: Path) -> None:
    model = Changed(lambda _: None)
    randomize(model, 0)
    networks.converted(networks.exported(model.eval(), LEGACY, tmp_path, (16, 16)), tmp_path)


def swapped(block: Block) -> None:
    block.attn_block, block.attn_grid = block.attn_grid, block.attn_block


def mixed(block: Block) -> None:
    block.attn_grid.back = False


def of_other_activations(block: Block) -> None:
    block.attn_grid.mlp.act = nn.GELU("tanh")


@pytest.mark.parametrize(
    ("change", "holds"),
    [(lambda _: None, True), (swapped, False), (mixed, False), (of_other_activations, False)],
    ids=["", "the grid first", "a grid becomes windows", "other activations"],
)
def test_no_block_by_one_detail(
    tmp_path: Path, change: Callable[[Block], None], holds: bool
) -> None:
    model = Changed(change)
    randomize(model, 0)
    network = onnx2mvit.inspect(networks.exported(model.eval(), LEGACY, tmp_path))
    assert bool(every(network, "MultiAxisAttention")) == holds
