"""EdgeNeXt as torch's exporters write it: converted, at other sizes, trained; near misses."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import onnx2mvit
from onnx2mvit.builder.build import build
from onnx2mvit.errors import UnsupportedError
from onnx2mvit.exporter.torch_export import Request
from tests.patterns.test_pattern_swin import reasons
from tests.support import networks
from tests.support.texts import every
from tests.support.torch_edgenext import (
    CrossCovarianceAttention,
    DownsamplingBlock,
    EdgeNeXt,
    SplitTransposeBlock,
)
from tests.support.torch_vit import randomize

pytestmark = pytest.mark.xdist_group("edgenext")

LEGACY = Request("legacy", 17, True, True)
ENCODERS = ["SDTAEncoder", "SDTAEncoder"]
KINDS = ["PatchifyStem", "ConvNeXtBlock", *ENCODERS, "EdgeNeXtDownsampling", "NormalizedClassifier"]


def torch_model(positions: bool = True) -> EdgeNeXt:
    model = EdgeNeXt(positions)
    randomize(model, 0)
    return model.eval()


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> onnx2mvit.Conversion:
    folder = tmp_path_factory.mktemp("edgenext")
    return networks.converted(networks.exported(torch_model(), LEGACY, folder), folder)


def test_it_is_proven_and_all_in_its_blocks(converted: onnx2mvit.Conversion) -> None:
    assert [block.kind for block in converted.blocks] == KINDS
    first, second = (block for block in converted.blocks if block.kind == "SDTAEncoder")
    assert (first.scales, first.num_heads, first.num_positions) == (2, 2, 64)
    assert (second.scales, second.num_heads) == (3, 4)
    assert "num_positions" not in second.params
    smaller = converted.blocks[-2]
    assert (smaller.filters, smaller.kernel_size, smaller.groups, smaller.strides) == (32, 5, 16, 2)
    assert smaller.layer_scale


@pytest.mark.slow
def test_dynamo_gives_the_same_tree(converted: onnx2mvit.Conversion, tmp_path: Path) -> None:
    file = networks.exported(torch_model(), Request("dynamo", 20, False, True), tmp_path)
    assert networks.tree(onnx2mvit.inspect(file).blocks) == networks.tree(converted.blocks)


def test_other_sizes_answer_as_torch_where_there_are_no_positions(
    converted: onnx2mvit.Conversion, tmp_path: Path
) -> None:
    """Positions are of the size of the file: what made them is not in it."""
    with pytest.raises(UnsupportedError, match="hold for the default input_shape alone"):
        build(converted.folder, input_shape=(40, 56, 3))
    file = networks.exported(torch_model(False), LEGACY, tmp_path)
    free = networks.converted(file, tmp_path, image_size="any")
    networks.assert_answers_alike(free.model, torch_model(False), (40, 56))


@pytest.mark.slow
def test_it_deploys_and_trains(converted: onnx2mvit.Conversion, tmp_path: Path) -> None:
    networks.assert_deploys(converted, tmp_path)
    networks.assert_trains(build(converted.folder), idle="key/bias")


class Changed(nn.Module):
    """A block of which a part is another, given as what takes its place."""

    def __init__(self, change: Callable[[SplitTransposeBlock], None]) -> None:
        super().__init__()
        self.stem, self.block = nn.Conv2d(3, 8, 4, 4), SplitTransposeBlock(8, 2, 2)
        change(self.block)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(self.stem(x))
        return y


def one_scale(block: SplitTransposeBlock) -> None:
    block.xca.temperature = nn.Parameter(torch.ones(1, 1, 1))


def of_tokens(block: SplitTransposeBlock) -> None:
    class Attention(CrossCovarianceAttention):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.flip(1))

    block.xca = Attention(8, 2)


def dense_convolution(block: SplitTransposeBlock) -> None:
    block.convs[0] = nn.Conv2d(4, 4, 3, padding=1)


def active(block: SplitTransposeBlock) -> None:
    block.convs[0] = nn.Sequential(block.convs[0], nn.ReLU())


@pytest.mark.parametrize(
    ("change", "holds"),
    [(lambda _: None, True), (one_scale, False), (of_tokens, False),
     (dense_convolution, False), (active, False)],
    ids=["", "one temperature", "tokens turned round", "a convolution of all", "an activation"],
)  # fmt: skip
def test_no_block_by_one_detail(
    tmp_path: Path, change: Callable[[SplitTransposeBlock], None], holds: bool
) -> None:
    model = Changed(change)
    randomize(model, 0)
    network = onnx2mvit.inspect(networks.exported(model.eval(), LEGACY, tmp_path))
    assert bool(every(network, "SDTAEncoder")) == holds


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (DownsamplingBlock(8, groups=4, scaled=False), "its groups have several channels each"),
        (DownsamplingBlock(8, stride=1, scaled=False), "its convolution has no strides"),
    ],
)
def test_no_downsampling_by_one_detail(tmp_path: Path, block: nn.Module, reason: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 4, 4), block)
    randomize(model, 0)
    network = onnx2mvit.inspect(networks.exported(model.eval(), LEGACY, tmp_path))
    kind = "EdgeNeXtDownsampling"
    assert not every(network, kind) and reason in reasons(network, kind)
