"""RepViT in torch, with the branches that it is trained with, and merged.

Modules are named as in timm, whose first version (`first`) normalizes both branches.
"""

from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from tests.support.torch_mobile import Config as Mobile
from tests.support.torch_mobile import Conv, SqueezeExcite
from tests.support.torch_mobilevit import GlobalPool, Parts, randomize, sequential

SIZE = (32, 32)


@dataclass(frozen=True)
class Config:
    merged: bool = False
    first: bool = False
    activation: type[nn.Module] = nn.GELU


def conv(
    config: Config, inputs: int, filters: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> nn.Module:
    return Conv(Mobile(), inputs, filters, kernel, stride, groups, norm=not config.merged)


class TokenMixer(nn.Module):
    def __init__(self, config: Config, dim: int) -> None:
        super().__init__()
        self.conv = conv(config, dim, dim, 3, groups=dim)
        self.conv1: nn.Module = conv(config, dim, dim, groups=dim)
        self.bn: nn.Module = nn.Identity()
        self.merged = config.merged
        if not config.first:
            self.conv1, self.bn = nn.Conv2d(dim, dim, 1, groups=dim), nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        if self.merged:
            return cast(Tensor, self.conv(x))
        return cast(Tensor, self.bn(self.conv(x) + self.conv1(x) + x))


class ChannelMixer(nn.Module):
    def __init__(self, config: Config, dim: int) -> None:
        super().__init__()
        self.conv1 = conv(config, dim, 2 * dim)
        self.act = config.activation()
        self.conv2 = conv(config, 2 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.conv2(self.act(self.conv1(x))))


class Block(nn.Module):
    def __init__(self, config: Config, dim: int, squeeze: bool = False) -> None:
        super().__init__()
        self.token_mixer = TokenMixer(config, dim)
        self.se = SqueezeExcite(Mobile(gate=nn.Sigmoid), dim) if squeeze else nn.Identity()
        self.channel_mixer = ChannelMixer(config, dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.se(self.token_mixer(x))
        return x + cast(Tensor, self.channel_mixer(x))


class Downsample(nn.Module):
    def __init__(self, config: Config, inputs: int, filters: int) -> None:
        super().__init__()
        self.pre_block = Block(config, inputs)
        self.spatial_downsample = conv(config, inputs, inputs, 3, 2, inputs)
        self.channel_downsample = conv(config, inputs, filters)
        self.ffn = ChannelMixer(config, filters)

    def forward(self, x: Tensor) -> Tensor:
        x = self.channel_downsample(self.spatial_downsample(self.pre_block(x)))
        return cast(Tensor, self.ffn(x)) + x


class RepViT(nn.Module):
    """A stem, two stages, and a classifier."""

    def __init__(self, config: Config, seed: int = 0) -> None:
        super().__init__()
        parts = [("conv1", conv(config, 3, 4, 3, 2)), ("act1", config.activation())]
        self.stem = sequential([*parts, ("conv2", conv(config, 4, 8, 3, 2))])
        self.first = nn.Sequential(Block(config, 8, squeeze=True), Block(config, 8))
        self.downsample = Downsample(config, 8, 16)
        self.second = nn.Sequential(Block(config, 16, squeeze=True))
        norm: nn.Module = nn.Identity() if config.merged else nn.BatchNorm1d(16)
        head: Parts = [("global_pool", GlobalPool()), ("bn", norm), ("l", nn.Linear(16, 7))]
        self.head = sequential(head)
        randomize(self, seed, SIZE)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.downsample(self.first(self.stem(x)))
        return cast(Tensor, self.head(self.second(x)))
