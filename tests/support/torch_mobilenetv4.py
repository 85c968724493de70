"""MobileNetV4 (arXiv:2404.10518) in torch: universal inverted bottlenecks and Mobile MQA.

Modules are named as in timm, so that module paths are real ones.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 7


class Conv(nn.Sequential):
    """A convolution, normalization and ReLU or none."""

    def __init__(
        self,
        inputs: int,
        filters: int,
        kernel: int,
        stride: int = 1,
        depthwise: bool = False,
        active: bool = True,
    ) -> None:
        super().__init__()
        groups = inputs if depthwise else 1
        self.conv = nn.Conv2d(
            inputs, filters, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(filters)
        if active:
            self.act = nn.ReLU()


class LayerScale(nn.Module):
    """One factor a channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma.view(1, -1, 1, 1)


class Bottleneck(nn.Module):
    """Depthwise convolutions of these sizes before and after the expansion, 0 for none."""

    def __init__(
        self,
        inputs: int,
        filters: int,
        start: int = 3,
        middle: int = 3,
        stride: int = 1,
        scaled: bool = True,
        skip: bool | None = None,
        expanded: int | None = None,
    ) -> None:
        super().__init__()
        wide = expanded or 2 * inputs
        early = stride if not middle else 1
        self.skip = (stride == 1 and inputs == filters) if skip is None else skip
        dw_start = Conv(inputs, inputs, start, early, True, active=False) if start else None
        self.dw_start = dw_start or nn.Identity()
        self.pw_exp = Conv(inputs, wide, 1)
        self.dw_mid = Conv(wide, wide, middle, stride, True) if middle else nn.Identity()
        self.pw_proj = Conv(wide, filters, 1, active=False)
        self.layer_scale = LayerScale(filters) if scaled else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer_scale(self.pw_proj(self.dw_mid(self.pw_exp(self.dw_start(x)))))
        return x + y if self.skip else cast(Tensor, y)


class Pixels(nn.Sequential):
    """Keys or values: after a convolution with strides, or with 0 of the pixels themselves."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        if stride:
            self.down_conv = nn.Conv2d(
                channels, channels, 3, stride, 1, groups=channels, bias=False
            )
            self.norm = nn.BatchNorm2d(channels)
        self.proj = nn.Conv2d(channels, width, 1, bias=False)


class Attention(nn.Module):
    """Mobile MQA; `factor` is what the scale is wrong by, `turned` if rows are columns."""

    def __init__(
        self,
        channels: int,
        heads: int = 2,
        width: int = 8,
        strides: tuple[int, int] = (2, 2),
        factor: float = 1.0,
        turned: bool = False,
        skip: bool = True,
    ) -> None:
        super().__init__()
        self.heads, self.width, self.factor = heads, width, factor
        self.turned, self.skip = turned, skip
        self.norm = nn.BatchNorm2d(channels)
        self.query = nn.Conv2d(channels, heads * width, 1, bias=False)
        self.key, self.value = (Pixels(channels, width, stride) for stride in strides)
        self.output = nn.Conv2d(heads * width, channels, 1, bias=False)
        self.layer_scale = LayerScale(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        batch, _, height, width = x.shape
        query = self.query(y).reshape(batch, self.heads, self.width, -1).transpose(-1, -2)
        key = self.key(y).flatten(2).transpose(1, 2).unsqueeze(1)
        value = self.value(y).flatten(2).transpose(1, 2).unsqueeze(1)
        scale = self.factor / self.width**0.5
        y = functional.scaled_dot_product_attention(query, key, value, scale=scale)
        y = y.transpose(1, 2)
        if self.turned:
            y = y.reshape(batch, width, height, -1).permute(0, 3, 2, 1)
        else:
            y = y.reshape(batch, height, width, -1).permute(0, 3, 1, 2)
        y = self.layer_scale(self.output(y))
        return x + y if self.skip else cast(Tensor, y)


class MobileNetV4(nn.Module):
    """A stem, these blocks and a classifier."""

    def __init__(self, *blocks: nn.Module, stem: int = 16) -> None:
        super().__init__()
        self.stem = Conv(3, stem, 3, 2)
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.LazyLinear(CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.classifier(self.blocks(self.stem(x)).mean((2, 3))))
