"""EdgeNeXt in torch, so small that it exports in a second; modules named as in timm."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.support.torch_convnext import Block, LayerNorm2d


class PositionalEncodingFourier(nn.Module):
    """A projection of sines and cosines of the rows and columns of an image."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.token_projection = nn.Conv2d(8, dim, 1)

    def forward(self, height: int, width: int) -> Tensor:
        rows = torch.arange(1, height + 1)[:, None].expand(-1, width) / height
        columns = torch.arange(1, width + 1).expand(height, -1) / width
        waves = [
            f(k * torch.pi * place)
            for place in (rows, columns)
            for k in (1, 2)
            for f in (torch.sin, torch.cos)
        ]
        return cast(Tensor, self.token_projection(torch.stack(waves)[None]))


class CrossCovarianceAttention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, -1).permute(2, 0, 3, 4, 1).unbind(0)
        scores = functional.normalize(q, dim=-1) @ functional.normalize(k, dim=-1).transpose(-2, -1)
        y = (scores * self.temperature).softmax(dim=-1) @ v
        return cast(Tensor, self.proj(y.permute(0, 3, 1, 2).reshape(b, n, c)))


class SplitTransposeBlock(nn.Module):
    def __init__(self, dim: int, scales: int, heads: int, positions: bool = False) -> None:
        super().__init__()
        width = -(-dim // scales)
        self.convs = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=1, groups=width) for _ in range(scales - 1)
        )
        self.pos_embd = PositionalEncodingFourier(dim) if positions else None
        self.norm_xca, self.norm = nn.LayerNorm(dim, 1e-6), nn.LayerNorm(dim, 1e-6)
        self.gamma_xca, self.gamma = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.ones(dim))
        self.xca = CrossCovarianceAttention(dim, heads)
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        parts = x.chunk(len(self.convs) + 1, dim=1)
        made: list[Tensor] = []
        for conv, part in zip(self.convs, parts, strict=False):
            made.append(conv(made[-1] + part if made else part))
        y = torch.cat([*made, parts[-1]], 1)
        b, c, h, w = y.shape
        y = y.reshape(b, c, h * w).permute(0, 2, 1)
        if self.pos_embd is not None:
            y = y + self.pos_embd(h, w).reshape(1, c, h * w).permute(0, 2, 1)
        y = y + self.gamma_xca * self.xca(self.norm_xca(y))
        y = self.fc2(functional.gelu(self.fc1(self.norm(y.reshape(b, h, w, c)))))
        return cast(Tensor, x + (self.gamma * y).permute(0, 3, 1, 2))


class DownsamplingBlock(nn.Module):
    """Twice the channels of half the pixels, each of a channel of its own."""

    def __init__(
        self, dim: int, groups: int | None = None, stride: int = 2, scaled: bool = True
    ) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(dim, 2 * dim, 5, stride, 2, groups=groups or dim)
        self.norm = nn.LayerNorm(2 * dim, 1e-6)
        self.gamma = nn.Parameter(torch.ones(2 * dim)) if scaled else None
        self.fc1, self.fc2 = nn.Linear(2 * dim, 8 * dim), nn.Linear(8 * dim, 2 * dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_dw(x)
        y = self.fc2(functional.gelu(self.fc1(self.norm(x.permute(0, 2, 3, 1)))))
        y = y if self.gamma is None else self.gamma * y
        return cast(Tensor, x + y.permute(0, 3, 1, 2))


class EdgeNeXt(nn.Module):
    """A block of two parts, with positions or without, one of three that are not alike, and one
    that makes the image smaller.
    """

    def __init__(self, positions: bool = True) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 4, 4), LayerNorm2d(16, 1e-6))
        self.blocks = nn.Sequential(
            Block(16, False, False, "before"),
            SplitTransposeBlock(16, 2, 2, positions),
            SplitTransposeBlock(16, 3, 4),
            DownsamplingBlock(16),
        )
        self.norm, self.head = nn.LayerNorm(32, 1e-6), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.norm(self.blocks(self.stem(x)).mean((2, 3)))))
