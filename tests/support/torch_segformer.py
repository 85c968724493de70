"""SegFormer's network (arXiv:2105.15203), small, and a backbone of the same layers alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Queries of all pixels, keys and values of patches of them."""

    def __init__(self, dim: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (dim // heads) ** -0.5
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.output = nn.Linear(dim, dim)
        self.reduced = nn.Conv2d(dim, dim, reduction, reduction) if reduction > 1 else None
        self.norm = nn.LayerNorm(dim)

    def parts(self, x: Tensor) -> Tensor:
        """(B, N, d) → (B, heads, N, d / heads)."""
        return x.reshape(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        q, y = self.parts(self.query(x)), x
        if self.reduced is not None:
            y = x.transpose(1, 2).reshape(x.shape[0], -1, height, width)
            y = self.norm(self.reduced(y).flatten(2).transpose(1, 2))
        k, v = self.parts(self.key(y)), self.parts(self.value(y))
        y = (q @ k.transpose(2, 3) * self.scale).softmax(-1) @ v
        made: Tensor = self.output(y.transpose(1, 2).reshape(x.shape))
        return made


class Layer(nn.Module):
    """Attention and a Mix-FFN."""

    def __init__(self, dim: int, heads: int, reduction: int, act: nn.Module) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = Attention(dim, heads, reduction)
        self.fc1, self.fc2, self.act = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim), act
        self.dwconv: nn.Module = nn.Conv2d(2 * dim, 2 * dim, 3, 1, 1, groups=2 * dim)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        x = x + self.attention(self.norm1(x), height, width)
        y = self.fc1(self.norm2(x))
        y = self.dwconv(y.transpose(1, 2).reshape(x.shape[0], -1, height, width))
        made: Tensor = x + self.fc2(self.act(y.flatten(2).transpose(1, 2)))
        return made


class Stage(nn.Module):
    """Patches that overlap, and layers."""

    def __init__(self, before: int, dim: int, kernel: int, layers: list[Layer]) -> None:
        super().__init__()
        self.proj = nn.Conv2d(before, dim, kernel, (kernel + 1) // 2, kernel // 2)
        self.proj_norm, self.norm = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim)
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(x)
        batch, dim, height, width = x.shape
        x = self.proj_norm(x.flatten(2).transpose(1, 2))
        for layer in self.layers:
            x = layer(x, height, width)
        made: Tensor = self.norm(x).reshape(batch, height, width, dim).permute(0, 3, 1, 2)
        return made


class SegFormer(nn.Module):
    """Two stages, and logits of every pixel of the first one's image."""

    def __init__(self) -> None:
        super().__init__()
        first = [Layer(8, 1, 4, nn.GELU()), Layer(8, 1, 4, nn.GELU())]
        self.stages = nn.ModuleList(
            [Stage(3, 8, 7, first), Stage(8, 12, 3, [Layer(12, 2, 1, nn.GELU())])]
        )
        self.linear = nn.ModuleList([nn.Linear(8, 16), nn.Linear(12, 16)])
        self.fuse, self.norm = nn.Conv2d(32, 16, 1, bias=False), nn.BatchNorm2d(16)
        self.classifier = nn.Conv2d(16, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts, size = [], None
        for stage, linear in zip(self.stages, self.linear, strict=True):
            x = stage(x)
            size = x.shape[2:] if size is None else size
            y = (
                linear(x.flatten(2).transpose(1, 2))
                .transpose(1, 2)
                .reshape(x.shape[0], 16, *x.shape[2:])
            )
            parts.append(functional.interpolate(y, size=size, mode="bilinear"))
        y = self.fuse(torch.cat(parts[::-1], 1))
        made: Tensor = self.classifier(self.norm(y).relu())
        return made


class PVT(nn.Module):
    """A stage, whose layers have another activation, and the mean of its tokens."""

    def __init__(self) -> None:
        super().__init__()
        layers = [Layer(8, 2, 2, nn.GELU("tanh")), Layer(8, 2, 2, nn.GELU("tanh"))]
        self.stage, self.head = Stage(3, 8, 7, layers), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.head(self.stage(x).flatten(2).transpose(1, 2).mean(1))
        return made
