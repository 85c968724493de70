"""MobileNets in torch as the code bases write them, so small that they are exported in a second.

Modules are named as in Apple's ml-cvnets, so that module paths are real ones.
"""

from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from tests.support.torch_mobilevit import GlobalPool, Parts, randomize, sequential


@dataclass(frozen=True)
class Config:
    """`same` pads as TensorFlow does, `linear` has linear layers in squeeze and excitation.

    `head` is ml-cvnets', with a hidden layer, or timm's, with a convolution after pooling.
    """

    activation: type[nn.Module] = nn.Hardswish
    gate: type[nn.Module] = nn.Hardsigmoid
    same: bool = False
    linear: bool = False
    head: str = "cvnets"
    size: tuple[int, int] = (32, 32)


class Same(nn.Conv2d):
    """Pads as TensorFlow does, by the size of the image that comes in."""

    def forward(self, x: Tensor) -> Tensor:
        sides: list[int] = []
        for size, kernel, stride in zip(x.shape[2:], self.kernel_size, self.stride, strict=True):
            total = max(((size - 1) // stride) * stride + kernel - size, 0)
            sides = [total // 2, total - total // 2, *sides]
        return super().forward(functional.pad(x, sides))


class Conv(nn.Module):
    """`block.conv`, `block.norm`, `block.act`; a bias where there is no normalization."""

    def __init__(
        self,
        config: Config,
        inputs: int,
        filters: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        norm: bool = True,
        act: type[nn.Module] | None = None,
    ) -> None:
        super().__init__()
        made = Same if config.same else nn.Conv2d
        padding = 0 if config.same else kernel // 2
        conv = made(inputs, filters, kernel, stride, padding, 1, groups, not norm)
        parts: Parts = [("conv", conv)]
        parts = [*parts, ("norm", nn.BatchNorm2d(filters))] if norm else parts
        self.block = sequential([*parts, ("act", act())] if act is not None else parts)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.block(x))


class SqueezeExcite(nn.Module):
    def __init__(self, config: Config, channels: int) -> None:
        super().__init__()
        self.linear = config.linear
        first: nn.Module = Conv(config, channels, 8, norm=False, act=nn.ReLU)
        second: nn.Module = Conv(config, 8, channels, norm=False)
        if config.linear:
            first = nn.Sequential(nn.Linear(channels, 8), nn.ReLU())
            second = nn.Linear(8, channels)
        pool: nn.Module = GlobalPool() if config.linear else nn.AdaptiveAvgPool2d(1)
        parts = [("global_pool", pool), ("fc1", first), ("fc2", second)]
        self.se_layer = sequential([*parts, ("scale_act", config.gate())])

    def forward(self, x: Tensor) -> Tensor:
        gate = self.se_layer(x)
        gate = gate.view(x.shape[0], x.shape[1], 1, 1) if self.linear else gate
        return x * cast(Tensor, gate)


class Separable(nn.Module):
    def __init__(self, config: Config, inputs: int, filters: int, stride: int = 1) -> None:
        super().__init__()
        self.dw_conv = Conv(config, inputs, inputs, 3, stride, inputs)
        self.pw_conv = Conv(config, inputs, filters, act=nn.ReLU)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.pw_conv(self.dw_conv(x)))


class InvertedResidual(nn.Module):
    def __init__(
        self,
        config: Config,
        inputs: int,
        filters: int,
        stride: int = 1,
        expansion: int = 3,
        squeeze: bool = True,
    ) -> None:
        super().__init__()
        hidden, act = inputs * expansion, config.activation
        depthwise = Conv(config, hidden, hidden, 5, stride, hidden, act=act)
        parts: Parts = [("conv_3x3", depthwise)]
        if expansion > 1:
            parts = [("exp_1x1", Conv(config, inputs, hidden, act=act)), *parts]
        if squeeze:
            parts = [*parts, ("se", SqueezeExcite(config, hidden))]
        self.block = sequential([*parts, ("red_1x1", Conv(config, hidden, filters))])
        self.residual = stride == 1 and inputs == filters

    def forward(self, x: Tensor) -> Tensor:
        y = cast(Tensor, self.block(x))
        return x + y if self.residual else y


class MobileNet(nn.Module):
    """A block of each MobileNet."""

    def __init__(self, config: Config, seed: int = 0) -> None:
        super().__init__()
        self.conv_1 = Conv(config, 3, 8, 3, 2, act=nn.ReLU6)
        self.layer_1 = nn.Sequential(Separable(config, 8, 16), Separable(config, 16, 16, 2))
        down = InvertedResidual(config, 16, 24, 2, squeeze=False)
        self.layer_2 = nn.Sequential(down, InvertedResidual(config, 24, 24))
        self.layer_3 = nn.Sequential(InvertedResidual(config, 24, 32, 2, expansion=1))
        self.conv_1x1_exp = Conv(config, 32, 48, act=config.activation)
        hidden: nn.Module = nn.Linear(48, 40)
        parts: Parts = [
            ("global_pool", GlobalPool()),
            ("fc1", hidden),
            ("act", config.activation()),
        ]
        if config.head == "timm":
            hidden = Conv(config, 48, 40, norm=False, act=config.activation)
            parts = [("pool", nn.AdaptiveAvgPool2d(1)), ("conv", hidden), ("flat", nn.Flatten())]
        self.classifier = sequential([*parts, ("fc", nn.Linear(40, 7))])
        randomize(self, seed, config.size)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer_3(self.layer_2(self.layer_1(self.conv_1(x))))
        return cast(Tensor, self.classifier(self.conv_1x1_exp(x)))
