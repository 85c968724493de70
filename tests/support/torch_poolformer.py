"""PoolFormer in torch, so small that it exports in a second; modules named as in timm."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    def __init__(self, dim: int, scaled: bool, pool_size: int = 3) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(1, dim), nn.GroupNorm(1, dim)
        self.pool = nn.AvgPool2d(pool_size, 1, pool_size // 2, count_include_pad=False)
        self.fc1, self.fc2 = nn.Conv2d(dim, 4 * dim, 1), nn.Conv2d(4 * dim, dim, 1)
        self.scaled = scaled
        if scaled:
            self.layer_scale1, self.layer_scale2 = (
                nn.Parameter(torch.ones(dim, 1, 1)) for _ in "12"
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        y = self.pool(y) - y
        x = x + (self.layer_scale1 * y if self.scaled else y)
        y = self.fc2(functional.gelu(self.fc1(self.norm2(x))))
        return cast(Tensor, x + (self.layer_scale2 * y if self.scaled else y))


class PoolFormer(nn.Module):
    """Overlapping patches, two stages whose blocks are scaled or not, Hugging Face's head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 7, 4, 2)
        self.stages = nn.Sequential(Block(8, True), nn.Conv2d(8, 16, 3, 2, 1), Block(16, False, 5))
        self.norm, self.head = nn.GroupNorm(1, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.norm(self.stages(self.stem(x))).mean((2, 3))))
