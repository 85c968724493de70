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


class StarReLU(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale, self.bias = (nn.Parameter(torch.full((1,), n)) for n in (0.8944, -0.4472))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * functional.relu(x) ** 2 + self.bias


class BlockV2(nn.Module):
    """PoolFormerV2's: no layer has a bias, and the input is scaled before it is added."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(1, dim, 1e-6), nn.GroupNorm(1, dim, 1e-6)
        for norm in (self.norm1, self.norm2):
            norm.register_parameter("bias", None)
        self.res_scale1, self.res_scale2 = (nn.Parameter(torch.ones(dim)) for _ in "12")
        self.pool, self.act = nn.AvgPool2d(3, 1, 1, count_include_pad=False), StarReLU()
        self.fc1, self.fc2 = (nn.Conv2d(n, m, 1, bias=False) for n, m in ((dim, 64), (64, dim)))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x * self.res_scale1.view(-1, 1, 1) + (self.pool(y) - y)
        y = self.fc2(self.act(self.fc1(self.norm2(x))))
        return cast(Tensor, x * self.res_scale2.view(-1, 1, 1) + y)


class Downsampling(nn.Module):
    """PoolFormerV2's, normalized before; its normalization has no bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(inputs, 1e-6, bias=False)
        self.conv = nn.Conv2d(inputs, outputs, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.conv(self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)))


class PoolFormer(nn.Module):
    """Overlapping patches, stages whose blocks are scaled or not or V2's, Hugging Face's head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 7, 4, 2)
        self.stages = nn.Sequential(
            Block(8, True), nn.Conv2d(8, 16, 3, 2, 1), Block(16, False, 5), Downsampling(16, 16),
            BlockV2(16),
        )  # fmt: skip
        self.norm, self.head = nn.GroupNorm(1, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.norm(self.stages(self.stem(x))).mean((2, 3))))
