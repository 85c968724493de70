"""ConvNeXt V1 and V2 in torch, so small that they export in a second; modules named as in timm."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class LayerNorm2d(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class RMSNorm2d(nn.Module):
    """By the root mean square of a pixel's channels, or by their deviation; timm has both."""

    def __init__(self, dim: int, by_deviation: bool) -> None:
        super().__init__()
        self.weight, self.by_deviation = nn.Parameter(torch.ones(dim)), by_deviation

    def forward(self, x: Tensor) -> Tensor:
        if self.by_deviation:
            x = x.permute(0, 2, 3, 1)
            x = x * torch.rsqrt(torch.var(x, dim=-1, keepdim=True) + 1e-6)
            return x.permute(0, 3, 1, 2) * self.weight.reshape(-1, 1, 1)
        x = x * torch.rsqrt(x.pow(2).mean(dim=1, keepdim=True) + 1e-6)
        return x * self.weight.reshape(1, -1, 1, 1)


class GlobalResponseNorm(nn.Module):
    def __init__(self, dim: int, channels_last: bool) -> None:
        super().__init__()
        self.space, self.channels = ((1, 2), -1) if channels_last else ((2, 3), 1)
        self.shape = (1, 1, 1, -1) if channels_last else (1, -1, 1, 1)
        self.weight, self.bias = nn.Parameter(torch.zeros(dim)), nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        norm = x.norm(p=2, dim=self.space, keepdim=True)
        norm = norm / (norm.mean(dim=self.channels, keepdim=True) + 1e-6)
        weight, bias = self.weight.view(self.shape), self.bias.view(self.shape)
        return x + torch.addcmul(bias, weight, x * norm)


class Block(nn.Module):
    """`conv_mlp`: 1×1 convolutions. `scale` is "after" the channels are moved back, or "before"."""

    def __init__(self, dim: int, conv_mlp: bool, grn: bool, scale: str | None) -> None:
        super().__init__()
        self.conv_mlp, self.scale = conv_mlp, scale
        self.conv_dw = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm: nn.Module = (LayerNorm2d if conv_mlp else nn.LayerNorm)(dim, 1e-6)
        self.fc1 = nn.Conv2d(dim, 4 * dim, 1) if conv_mlp else nn.Linear(dim, 4 * dim)
        self.grn = GlobalResponseNorm(4 * dim, not conv_mlp) if grn else nn.Identity()
        self.fc2 = nn.Conv2d(4 * dim, dim, 1) if conv_mlp else nn.Linear(4 * dim, dim)
        if scale:
            self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_dw(x)
        if not self.conv_mlp:
            y = y.permute(0, 2, 3, 1)
        y = self.fc2(self.grn(functional.gelu(self.fc1(self.norm(y)))))
        if self.scale == "before":
            y = self.gamma * y
        if not self.conv_mlp:
            y = y.permute(0, 3, 1, 2)
        if self.scale == "after":
            y = y.mul(self.gamma.reshape(1, -1, 1, 1))
        return cast(Tensor, y + x)


class RMSBlock(Block):
    """Its layers have no bias."""

    def __init__(self, dim: int, by_deviation: bool) -> None:
        super().__init__(dim, True, False, "after")
        self.norm: nn.Module = RMSNorm2d(dim, by_deviation)
        self.conv_dw = nn.Conv2d(dim, dim, 7, padding=3, groups=dim, bias=False)
        self.fc1, self.fc2 = (nn.Conv2d(n, m, 1, bias=False) for n, m in ((dim, 64), (64, dim)))


class ConvNeXt(nn.Module):
    """Every form of a block once, and what normalizes and makes smaller between stages.

    timm's heads normalize a pixel, Hugging Face's a vector.
    """

    def __init__(self, head: str = "pixel") -> None:
        super().__init__()
        self.head = head
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), LayerNorm2d(8, 1e-6))
        self.stages = nn.Sequential(
            Block(8, True, False, "after"),
            Block(8, False, False, "before"),
            nn.Sequential(LayerNorm2d(8, 1e-6), nn.Conv2d(8, 16, 2, 2)),
            Block(16, True, True, None),
            Block(16, False, True, None),
            Block(16, False, False, "after"),
            RMSBlock(16, False),
            RMSBlock(16, True),
        )
        self.norm = (LayerNorm2d if head == "pixel" else nn.LayerNorm)(16, 1e-6)
        self.fc = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(self.stem(x))
        x = x.mean((2, 3), keepdim=self.head == "pixel")
        return cast(Tensor, self.fc(self.norm(x).flatten(1)))
