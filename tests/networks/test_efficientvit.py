"""EfficientViT as torch's exporters write it: converted, at other sizes, trained; near misses."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import onnx2mvit
from onnx2mvit.builder.build import build
from onnx2mvit.exporter.torch_export import Request
from tests.support import networks
from tests.support.texts import every
from tests.support.torch_efficientvit import EfficientViT, LiteMLA, ResidualBlock
from tests.support.torch_vit import randomize

pytestmark = pytest.mark.xdist_group("efficientvit")

LEGACY = Request("legacy", 17, False, True)
KINDS = [
    *("ConvBnAct", "LiteMLA", "InvertedResidual", "LiteMLA", "InvertedResidual", "ConvBnAct"),
    "HiddenNormClassifier",
]


def torch_model() -> EfficientViT:
    model = EfficientViT()
    randomize(model, 0)
    return model.eval()


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> onnx2mvit.Conversion:
    folder = tmp_path_factory.mktemp("efficientvit")
    file = networks.exported(torch_model(), LEGACY, folder)
    return networks.converted(file, folder, image_size="any")


def test_it_is_proven_and_all_in_its_blocks(converted: onnx2mvit.Conversion) -> None:
    assert [block.kind for block in converted.blocks] == KINDS
    first, second = (block for block in converted.blocks if block.kind == "LiteMLA")
    assert (first.num_heads, first.head_dim, first.scales) == (2, 4, (5,))
    assert (second.num_heads, second.head_dim, second.scales) == (1, 6, (3, 5))
    mbconv = converted.blocks[2]
    assert mbconv.batch_norm and mbconv.fewer_norm
    activations = [block.activation for block in converted.blocks[4:]]
    assert activations == ["gelu_tanh"] * 3


@pytest.mark.slow
def test_dynamo_gives_the_same_tree_with_its_normalization_folded(
    converted: onnx2mvit.Conversion, tmp_path: Path
) -> None:
    file = networks.exported(torch_model(), Request("dynamo", 20, True, True), tmp_path)
    network = onnx2mvit.inspect(file)
    assert not network.blocks[2].batch_norm
    assert networks.tree(network.blocks) == networks.tree(converted.blocks)


def test_other_sizes_answer_as_torch(converted: onnx2mvit.Conversion) -> None:
    networks.assert_answers_alike(converted.model, torch_model(), (40, 56))


@pytest.mark.slow
def test_it_deploys_and_trains(converted: onnx2mvit.Conversion, tmp_path: Path) -> None:
    networks.assert_deploys(converted, tmp_path)
    # Behind it a convolution is normalized again, which takes away what it adds.
    networks.assert_trains(build(converted.folder, input_shape=(32, 32, 3)), idle="main_2_bn/beta")


class Changed(nn.Module):
    """Attention of which a part is another, as a function makes it."""

    def __init__(self, change: Callable[[LiteMLA], None]) -> None:
        super().__init__()
        attention = LiteMLA(8, 2, 4, (5,))
        change(attention)
        self.stem, self.block = nn.Conv2d(3, 8, 4, 4), ResidualBlock(attention)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(self.stem(x))
        return y


def twos(attention: LiteMLA) -> None:
    attention.filled = 2.0


def gelu(attention: LiteMLA) -> None:
    attention.kernel_func = nn.GELU()


def normalized(attention: LiteMLA) -> None:
    attention.aggreg[0] = nn.Sequential(attention.aggreg[0], nn.BatchNorm2d(24))


def of_other_groups(attention: LiteMLA) -> None:
    depthwise, _ = attention.aggreg[0].children()
    attention.aggreg[0] = nn.Sequential(depthwise, nn.Conv2d(24, 24, 1, groups=3, bias=False))


def of_all_pixels(attention: LiteMLA) -> None:
    class Sum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x) + torch.relu(x.flip(2))

    attention.kernel_func = Sum()


@pytest.mark.parametrize(
    ("change", "holds"),
    [(lambda _: None, True), (twos, False), (gelu, False), (normalized, False),
     (of_other_groups, False), (of_all_pixels, False)],
    ids=["", "twos for ones", "another kernel", "a scale is normalized", "groups of two heads",
         "a kernel of all pixels"],
)  # fmt: skip
def test_no_block_by_one_detail(
    tmp_path: Path, change: Callable[[LiteMLA], None], holds: bool
) -> None:
    model = Changed(change)
    randomize(model, 0)
    network = onnx2mvit.inspect(networks.exported(model.eval(), LEGACY, tmp_path))
    assert bool(every(network, "LiteMLA")) == holds
