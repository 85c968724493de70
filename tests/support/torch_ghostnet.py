"""GhostNet and GhostNetV2 in torch, so small that they export in a second; names as in timm."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional


def conv_bn(
    channels: int, filters: int, kernel: int | tuple[int, int], **how: Any
) -> list[nn.Module]:
    sizes = (kernel, kernel) if isinstance(kernel, int) else kernel
    pads = (sizes[0] // 2, sizes[1] // 2)
    conv = nn.Conv2d(channels, filters, sizes, padding=pads, bias=False, **how)
    return [conv, nn.BatchNorm2d(filters)]


class GhostModule(nn.Module):
    """`attention` is V2's, of rows and columns of five pixels."""

    def __init__(self, channels: int, filters: int, active: bool, attention: bool = False) -> None:
        super().__init__()
        self.filters, half = filters, -(-filters // 2)
        act = nn.ReLU if active else nn.Identity
        self.primary_conv = nn.Sequential(*conv_bn(channels, half, 1), act())
        self.cheap_operation = nn.Sequential(*conv_bn(half, half, 3, groups=half), act())
        self.short_conv = None
        if attention:
            each = {"groups": filters}
            rows, columns = (
                conv_bn(filters, filters, (1, 5), **each),
                conv_bn(filters, filters, (5, 1), **each),
            )
            self.short_conv = nn.Sequential(*conv_bn(channels, filters, 1), *rows, *columns)

    def forward(self, x: Tensor) -> Tensor:
        y = self.primary_conv(x)
        y = torch.cat([y, self.cheap_operation(y)], dim=1)[:, : self.filters]
        if self.short_conv is not None:
            gate = torch.sigmoid(self.short_conv(functional.avg_pool2d(x, 2, 2)))
            y = y * functional.interpolate(gate, size=y.shape[-2:], mode="nearest")
        return y


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_reduce, self.conv_expand = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_reduce(x.mean((2, 3), keepdim=True)).relu()
        return x * functional.hardsigmoid(self.conv_expand(y))


class GhostBottleneck(nn.Module):
    def __init__(
        self,
        channels: int,
        hidden: int,
        filters: int,
        stride: int = 1,
        *,
        se: bool = False,
        attention: bool = False,
    ) -> None:
        super().__init__()
        self.ghost1 = GhostModule(channels, hidden, True, attention)
        dw = conv_bn(hidden, hidden, 3, groups=hidden, stride=stride) if stride > 1 else []
        self.conv_dw = nn.Sequential(*dw)
        self.se = SqueezeExcite(hidden) if se else nn.Identity()
        self.ghost2 = GhostModule(hidden, filters, False)
        dw = conv_bn(channels, channels, 3, groups=channels, stride=stride)
        projected = stride > 1 or channels != filters
        self.shortcut = (
            nn.Sequential(*dw, *conv_bn(channels, filters, 1)) if projected else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.ghost2(self.se(self.conv_dw(self.ghost1(x))))
        y += self.shortcut(x)
        return cast(Tensor, y)


class GhostNet(nn.Module):
    """Every form of a block once: odd channels, strides, squeezed, with attention, projected."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = nn.Sequential(*conv_bn(3, 8, 3, stride=2), nn.ReLU())
        self.blocks = nn.Sequential(
            GhostBottleneck(8, 16, 8),
            GhostBottleneck(8, 11, 12, 2, se=True),
            GhostBottleneck(12, 21, 12, attention=True),
            GhostBottleneck(12, 24, 16, 2, attention=True),
            GhostBottleneck(16, 16, 12, se=True, attention=True),
        )
        self.classifier = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.classifier(self.blocks(self.conv_stem(x)).mean((2, 3))))
