"""MobileOne and RepVGG in torch, with the branches that they are trained with, and merged.

Modules are named as in Apple's ml-cvnets and in RepVGG's own code, so that module paths are real
ones.
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
    """`merged` networks have one convolution with a bias in the place of each sum."""

    network: str = "mobileone"
    branches: int = 4
    merged: bool = False
    squeeze: bool = False
    activation: type[nn.Module] = nn.ReLU


class MobileOneBlock(nn.Module):
    """Of every channel by itself (`depthwise`), or over all."""

    def __init__(
        self,
        config: Config,
        inputs: int,
        filters: int,
        kernel: int = 1,
        stride: int = 1,
        depthwise: bool = False,
    ) -> None:
        super().__init__()
        groups = inputs if depthwise else 1
        self.se = SqueezeExcite(Mobile(gate=nn.Sigmoid), filters) if config.squeeze else None
        self.activation = config.activation()
        self.merged = config.merged
        if config.merged:
            self.reparam_conv = nn.Conv2d(
                inputs, filters, kernel, stride, kernel // 2, groups=groups
            )
            return
        same = stride == 1 and inputs == filters
        self.rbr_skip = nn.BatchNorm2d(inputs) if same else None
        self.rbr_scale = Conv(Mobile(), inputs, filters, 1, stride, groups) if kernel > 1 else None
        convs = [
            Conv(Mobile(), inputs, filters, kernel, stride, groups) for _ in range(config.branches)
        ]
        self.rbr_conv = nn.ModuleList(convs)

    def summed(self, x: Tensor) -> Tensor:
        if self.merged:
            return cast(Tensor, self.reparam_conv(x))
        # Zeros and all, as ml-cvnets writes it: they reach the files of some exporters.
        skipped = 0 if self.rbr_skip is None else self.rbr_skip(x)
        scaled = 0 if self.rbr_scale is None else self.rbr_scale(x)
        total = scaled + skipped
        for conv in self.rbr_conv:
            total = total + conv(x)
        return cast(Tensor, total)

    def forward(self, x: Tensor) -> Tensor:
        y = self.summed(x)
        return cast(Tensor, self.activation(y if self.se is None else self.se(y)))


class RepVGGBlock(nn.Module):
    def __init__(
        self, config: Config, inputs: int, filters: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.nonlinearity = nn.ReLU()
        self.se = SqueezeExcite(Mobile(gate=nn.Sigmoid), filters) if config.squeeze else None
        self.merged = config.merged
        if config.merged:
            self.rbr_reparam = nn.Conv2d(inputs, filters, 3, stride, 1, groups=groups)
            return
        same = stride == 1 and inputs == filters
        self.rbr_identity = nn.BatchNorm2d(inputs) if same else None
        self.rbr_dense = self.conv_bn(inputs, filters, 3, stride, groups)
        self.rbr_1x1 = self.conv_bn(inputs, filters, 1, stride, groups)

    @staticmethod
    def conv_bn(inputs: int, filters: int, kernel: int, stride: int, groups: int) -> nn.Module:
        conv = nn.Conv2d(inputs, filters, kernel, stride, kernel // 2, groups=groups, bias=False)
        parts: Parts = [("conv", conv), ("bn", nn.BatchNorm2d(filters))]
        return sequential(parts)

    def forward(self, x: Tensor) -> Tensor:
        if self.merged:
            y = self.rbr_reparam(x)
        else:
            skipped = 0 if self.rbr_identity is None else self.rbr_identity(x)
            y = self.rbr_dense(x) + self.rbr_1x1(x) + skipped
        return cast(Tensor, self.nonlinearity(y if self.se is None else self.se(y)))


def separable(config: Config, inputs: int, filters: int, stride: int = 1) -> list[nn.Module]:
    """MobileOne's depthwise block and the pointwise one after it."""
    depthwise = MobileOneBlock(config, inputs, inputs, 3, stride, depthwise=True)
    return [depthwise, MobileOneBlock(config, inputs, filters)]


class Network(nn.Module):
    """A stem, two stages that begin with strides of 2, and a classifier."""

    def __init__(self, config: Config, seed: int = 0) -> None:
        super().__init__()
        if config.network == "mobileone":
            # As in ml-cvnets, the stem alone has no branches that are alike.
            stem = Config(branches=1, merged=config.merged, squeeze=config.squeeze)
            self.conv_1: nn.Module = MobileOneBlock(stem, 3, 8, 3, 2)
            self.layer_2 = nn.Sequential(*separable(config, 8, 16, 2), *separable(config, 16, 16))
            self.layer_3 = nn.Sequential(*separable(config, 16, 24, 2))
        else:
            self.conv_1 = RepVGGBlock(config, 3, 8, 2)
            self.layer_2 = nn.Sequential(RepVGGBlock(config, 8, 16, 2), RepVGGBlock(config, 16, 16))
            self.layer_3 = nn.Sequential(RepVGGBlock(config, 16, 24, 2, 2))
        self.classifier = sequential([("global_pool", GlobalPool()), ("fc", nn.Linear(24, 7))])
        randomize(self, seed, SIZE)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.classifier(self.layer_3(self.layer_2(self.conv_1(x)))))
