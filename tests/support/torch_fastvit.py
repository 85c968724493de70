"""FastViT in torch, with the branches that it is trained with, and merged.

Modules are named as in timm; `cvnets` writes sums and LayerScale as Apple's ml-cvnets does.
"""

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from tests.support.torch_attention import Attention
from tests.support.torch_convnext import LayerNorm2d
from tests.support.torch_mobile import Config as Mobile
from tests.support.torch_mobile import Conv, SqueezeExcite
from tests.support.torch_mobilevit import GlobalPool, randomize, sequential
from tests.support.torch_reparameterized import Config as Branches
from tests.support.torch_reparameterized import MobileOneBlock

SIZE = (64, 64)


@dataclass(frozen=True)
class Config:
    """`squeeze` squeezes and activates patch embeddings, as MobileCLIP does.

    `layer_norm` is before attention in the larger ones of MobileCLIP2.
    """

    merged: bool = False
    cvnets: bool = False
    layer_scale: bool = True
    squeeze: bool = False
    kernel: int = 3
    layer_norm: bool = False

    @property
    def branches(self) -> Branches:
        """Those of the blocks that are MobileOne's."""
        return Branches(branches=1, merged=self.merged, activation=nn.GELU)


def conv(inputs: int, filters: int, kernel: int, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    """Of every channel by itself."""
    return nn.Conv2d(inputs, filters, kernel, stride, kernel // 2, groups=inputs, bias=bias)


class LayerScale(nn.Module):
    def __init__(self, config: Config, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.rand(dim, 1, 1) + 0.5) if config.layer_scale else None
        self.cvnets = config.cvnets

    def forward(self, x: Tensor) -> Tensor:
        if self.gamma is None:
            return x
        return self.gamma * x if self.cvnets else x * self.gamma


class RepMixer(nn.Module):
    def __init__(self, config: Config, dim: int) -> None:
        super().__init__()
        self.merged, self.sums_first = config.merged, config.cvnets and not config.layer_scale
        if config.merged:
            self.reparam_conv = conv(dim, dim, config.kernel)
            return
        self.norm = nn.BatchNorm2d(dim)
        inactive = replace(config.branches, activation=nn.Identity)
        self.mixer = MobileOneBlock(inactive, dim, dim, config.kernel, depthwise=True)
        self.layer_scale = LayerScale(config, dim)

    def forward(self, x: Tensor) -> Tensor:
        if self.merged:
            return cast(Tensor, self.reparam_conv(x))
        if self.sums_first:
            return cast(Tensor, x + self.mixer(x) - self.norm(x))
        return cast(Tensor, x + self.layer_scale(self.mixer(x) - self.norm(x)))


class ConvFFN(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = Conv(Mobile(), dim, dim, 7, groups=dim)
        self.fc1 = nn.Conv2d(dim, 3 * dim, 1)
        self.act = nn.GELU()
        self.fc2 = nn.Conv2d(3 * dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.fc2(self.act(self.fc1(self.conv(x)))))


class RepMixerBlock(nn.Module):
    def __init__(self, config: Config, dim: int) -> None:
        super().__init__()
        self.token_mixer = RepMixer(config, dim)
        self.mlp = ConvFFN(dim)
        self.layer_scale = LayerScale(config, dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.token_mixer(x)
        return cast(Tensor, x + self.layer_scale(self.mlp(x)))


class AttentionBlock(nn.Module):
    def __init__(self, config: Config, dim: int) -> None:
        super().__init__()
        self.norm: nn.Module = LayerNorm2d(dim) if config.layer_norm else nn.BatchNorm2d(dim)
        self.token_mixer = Attention("scale on q", dim, 2, bias=False, dropout=0.0)
        self.layer_scale_1 = LayerScale(config, dim)
        self.mlp = ConvFFN(dim)
        self.layer_scale_2 = LayerScale(config, dim)

    def forward(self, x: Tensor) -> Tensor:
        y = self.token_mixer(self.norm(x).flatten(2).transpose(-2, -1))
        x = x + self.layer_scale_1(y.transpose(-2, -1).reshape(x.shape))
        return cast(Tensor, x + self.layer_scale_2(self.mlp(x)))


class LargeKernelConv(nn.Module):
    def __init__(self, config: Config, inputs: int, filters: int) -> None:
        super().__init__()
        self.merged = config.merged
        if config.merged:
            self.reparam_conv = conv(inputs, filters, 7, 2)
        else:
            self.large_conv = Conv(Mobile(), inputs, filters, 7, 2, groups=inputs)
            self.small_conv = Conv(Mobile(), inputs, filters, 3, 2, groups=inputs)
        self.se = SqueezeExcite(Mobile(gate=nn.Sigmoid), filters) if config.squeeze else None
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.reparam_conv(x) if self.merged else self.large_conv(x) + self.small_conv(x)
        return cast(Tensor, y if self.se is None else self.act(self.se(y)))


class PositionalEncoding(nn.Module):
    def __init__(self, config: Config, dim: int) -> None:
        super().__init__()
        self.merged = config.merged
        self.pos_enc = conv(dim, dim, 7)

    def forward(self, x: Tensor) -> Tensor:
        y = self.pos_enc(x)
        return cast(Tensor, y if self.merged else y + x)


class FastViT(nn.Module):
    """A stem, a block of each kind with patches between them, and a classifier."""

    def __init__(self, config: Config, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        branches, squeezed = config.branches, replace(config.branches, squeeze=True)
        self.stem = nn.Sequential(
            MobileOneBlock(branches, 3, 8, 3, 2),
            MobileOneBlock(branches, 8, 8, 3, 2, depthwise=True),
            MobileOneBlock(branches, 8, 8),
        )
        self.mixing = nn.Sequential(RepMixerBlock(config, 8))
        self.downsample = nn.Sequential(
            LargeKernelConv(config, 8, 16), MobileOneBlock(branches, 16, 16)
        )
        self.pos_emb = PositionalEncoding(config, 16)
        self.attending = nn.Sequential(AttentionBlock(config, 16))
        self.final_conv = MobileOneBlock(squeezed, 16, 32, 3, depthwise=True)
        self.head = sequential([("global_pool", GlobalPool()), ("fc", nn.Linear(32, 7))])
        randomize(self, seed, SIZE)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.mixing(self.stem(x))
        x = self.attending(self.pos_emb(self.downsample(x)))
        return cast(Tensor, self.head(self.final_conv(x)))
