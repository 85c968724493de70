"""ReXNet in torch, so small that it exports in a second; modules named as in timm."""

from typing import cast

import torch
from torch import Tensor, nn


def conv_norm(inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> nn.Sequential:
    """A convolution over all channels, or of each by itself, and its normalization."""
    groups = inputs if kernel > 1 else 1
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class SEWithNorm(nn.Module):
    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.fc1, self.bn = nn.Conv2d(channels, reduced, 1), nn.BatchNorm2d(reduced)
        self.act, self.fc2 = nn.ReLU(), nn.Conv2d(reduced, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.bn(self.fc1(x.mean((2, 3), keepdim=True))))
        return cast(Tensor, x * self.fc2(y).sigmoid())


class LinearBottleneck(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, squeezed: bool) -> None:
        super().__init__()
        self.added = inputs if stride == 1 else 0
        self.conv_exp = nn.Sequential(conv_norm(inputs, 6 * inputs), nn.SiLU())
        self.conv_dw = conv_norm(6 * inputs, 6 * inputs, 3, stride)
        self.se = SEWithNorm(6 * inputs, 4) if squeezed else nn.Identity()
        self.act_dw, self.conv_pwl = nn.ReLU6(), conv_norm(6 * inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_pwl(self.act_dw(self.se(self.conv_dw(self.conv_exp(x)))))
        if self.added:
            y = torch.cat([y[:, : self.added] + x, y[:, self.added :]], dim=1)
        return cast(Tensor, y)


class ReXNet(nn.Module):
    """Every form of a block: with strides or the input added, squeezed or not."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.SiLU()
        )
        self.features = nn.Sequential(
            LinearBottleneck(8, 10, 2, False),
            LinearBottleneck(10, 13, 1, False),
            LinearBottleneck(13, 16, 2, True),
            LinearBottleneck(16, 19, 1, True),
        )
        self.fc = nn.Linear(19, 5)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.fc(self.features(self.stem(x)).mean((2, 3))))
