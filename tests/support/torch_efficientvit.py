"""EfficientViT in torch, so small that it exports in a second; modules named as in timm."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

Act = Callable[[], nn.Module]


def gelu() -> nn.Module:
    return nn.GELU("tanh")


def conv(
    ins: int, outs: int, size: int = 1, *, norm: bool = True, act: Act | None = nn.Hardswish
) -> nn.Module:
    """A convolution, 1×1 or of every channel by itself; without normalization it has a bias."""
    groups = ins if size > 1 else 1
    parts: list[nn.Module] = [
        nn.Conv2d(ins, outs, size, 1, size // 2, groups=groups, bias=not norm)
    ]
    parts += [nn.BatchNorm2d(outs)] if norm else []
    return nn.Sequential(*parts, *([act()] if act else []))


class LiteMLA(nn.Module):
    """Of timm, or as its authors write it: channels before pixels."""

    def __init__(self, channels: int, heads: int, dim: int, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.dim, self.by_columns, self.filled = dim, False, 1.0
        width = 3 * heads * dim
        self.qkv = nn.Conv2d(channels, width, 1, bias=False)
        self.aggreg = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, size, padding=size // 2, groups=width, bias=False),
                nn.Conv2d(width, width, 1, groups=3 * heads, bias=False),
            )
            for size in sizes
        )
        self.kernel_func: nn.Module = nn.ReLU()
        self.proj = conv(heads * dim * (1 + len(sizes)), channels, act=None)

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        qkv = self.qkv(x)
        qkv = torch.cat([qkv, *(each(qkv) for each in self.aggreg)], 1)
        qkv = qkv.reshape(b, -1, 3 * self.dim, h * w)
        if self.by_columns:
            q, k, v = qkv.chunk(3, 2)
            v = functional.pad(v, (0, 0, 0, 1), value=self.filled)
            y = v @ self.kernel_func(k).transpose(-1, -2) @ self.kernel_func(q)
            y = y[:, :, :-1] / (y[:, :, -1:] + 1e-5)
        else:
            q, k, v = qkv.transpose(-1, -2).chunk(3, -1)
            v = functional.pad(v, (0, 1), value=self.filled)
            y = self.kernel_func(q) @ (self.kernel_func(k).transpose(-1, -2) @ v)
            y = (y[..., :-1] / (y[..., -1:] + 1e-5)).transpose(-1, -2)
        return cast(Tensor, self.proj(y.reshape(b, -1, h, w)))


class MBConv(nn.Sequential):
    """Of its convolutions the last alone is normalized."""

    def __init__(self, channels: int, expanded: int, act: Act) -> None:
        super().__init__(
            conv(channels, expanded, norm=False, act=act),
            conv(expanded, expanded, 3, norm=False, act=act),
            conv(expanded, channels, act=None),
        )


class ResidualBlock(nn.Module):
    def __init__(self, main: nn.Module) -> None:
        super().__init__()
        self.main = main

    def forward(self, x: Tensor) -> Tensor:
        return x + cast(Tensor, self.main(x))


class EfficientViT(nn.Module):
    """Attention with one further scale, and with two as its authors write it; GELU at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, 4, 1, bias=False), nn.BatchNorm2d(8), nn.Hardswish()
        )
        self.attention = LiteMLA(8, 2, 4, (5,)), LiteMLA(8, 1, 6, (3, 5))
        self.attention[1].by_columns = True
        first, second = MBConv(8, 16, nn.Hardswish), MBConv(8, 16, gelu)
        parts = (self.attention[0], first, self.attention[1], second)
        self.blocks = nn.Sequential(*(ResidualBlock(part) for part in parts))
        self.in_conv = conv(8, 12, act=gelu)
        self.classifier = nn.Sequential(
            nn.Linear(12, 16, bias=False), nn.LayerNorm(16), gelu(), nn.Linear(16, 5)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.in_conv(self.blocks(self.stem(x)))
        return cast(Tensor, self.classifier(y.mean((2, 3))))
