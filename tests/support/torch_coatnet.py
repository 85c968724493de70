"""CoAtNet (arXiv:2106.04803) in torch, with timm's names for its modules."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

CLASSES = 5


class Norm(nn.Module):
    """Layer normalization of each pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


class Shortcut(nn.Sequential):
    """Pooled with strides, and expanded to other channels."""

    def __init__(self, inputs: int, filters: int, stride: int) -> None:
        super().__init__()
        if stride > 1:
            self.pool = nn.AvgPool2d(2)
        if inputs != filters:
            self.expand = nn.Conv2d(inputs, filters, 1)


class Squeeze(nn.Module):
    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, filters, 1), nn.Conv2d(filters, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.fc2(torch.relu(self.fc1(x.mean((2, 3), keepdim=True)))).sigmoid()
        return cast(Tensor, x * gate)


class MBConv(nn.Module):
    """`early`: its strides are a pooling's, and it squeezes before it normalizes."""

    def __init__(
        self, inputs: int, filters: int, stride: int = 1, early: bool = False, wrong: str = ""
    ) -> None:
        super().__init__()
        self.early, self.wrong, wide = early, wrong, 2 * inputs
        self.shortcut = Shortcut(inputs, filters, stride)
        self.pre_norm = nn.BatchNorm2d(inputs)
        self.down = nn.AvgPool2d(2) if early and stride > 1 else nn.Identity()
        self.conv1_1x1 = nn.Conv2d(inputs, wide, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(wide)
        stride = 1 if early else stride
        self.conv2_kxk = nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False)
        self.norm2 = nn.BatchNorm2d(wide)
        self.se = Squeeze(wide, 4)
        self.conv3_1x1 = nn.Conv2d(wide, filters, 1)

    def forward(self, x: Tensor) -> Tensor:
        act = nn.functional.silu
        y = self.pre_norm(x)
        y = self.down(act(y) if self.early else y)
        y = self.conv2_kxk(act(self.norm1(self.conv1_1x1(y))))
        y = act(self.norm2(self.se(y))) if self.early else self.se(act(self.norm2(y)))
        short = self.pre_norm(x) if self.wrong == "normed" else self.shortcut(x)
        return cast(Tensor, self.conv3_1x1(y) + short)


class Attention(nn.Module):
    def __init__(self, inputs: int, dim: int, size: int, fused: bool, wrong: str) -> None:
        super().__init__()
        self.heads, self.size, self.fused, self.wrong = inputs // 8, size, fused, wrong
        self.qkv = nn.Conv2d(inputs, 3 * inputs, 1)
        self.table = nn.Parameter(torch.zeros((2 * size - 1) ** 2, self.heads))
        row, column = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
        places = torch.stack([row.flatten(), column.flatten()])
        down, right = places[:, :, None] - places[:, None] + size - 1
        self.index = down * (2 * size - 1) + right
        self.proj = nn.Conv2d(inputs, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        q, k, v = self.qkv(x).view(batch, self.heads, 24, -1).chunk(3, dim=2)
        bias = self.table[self.index].permute(2, 0, 1)[None]
        if self.wrong == "order":
            q, v = v, q
        scale = 8**-0.5 * (2 if self.wrong == "scale" else 1)
        if self.fused:
            q, k, v = (each.transpose(-1, -2) for each in (q, k, v))
            attend = nn.functional.scaled_dot_product_attention
            y = attend(q, k, v, attn_mask=bias, scale=scale).transpose(-1, -2)
        else:
            share = ((q.transpose(-2, -1) @ k) * scale + bias).softmax(-1)
            y = v @ share.transpose(-2, -1)
        return cast(Tensor, self.proj(y.reshape(batch, channels, height, width)))


class Transformer(nn.Module):
    """On images of so many pixels a side, or half of that with strides."""

    def __init__(
        self,
        inputs: int,
        dim: int,
        size: int,
        stride: int = 1,
        fused: bool = False,
        wrong: str = "",
        norm: tuple[Callable[[int], nn.Module], Callable[[int], nn.Module]] = (Norm, Norm),
    ) -> None:
        super().__init__()
        self.shortcut = Shortcut(inputs, dim, stride)
        self.norm1, self.norm2 = norm[0](inputs), norm[1](dim)
        self.down = nn.AvgPool2d(2) if stride > 1 else nn.Identity()
        self.attn = Attention(inputs, dim, size, fused, wrong)
        self.fc1, self.fc2 = nn.Conv2d(dim, 2 * dim, 1), nn.Conv2d(2 * dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.shortcut(x) + self.attn(self.down(self.norm1(x)))
        return cast(Tensor, x + self.fc2(nn.functional.gelu(self.fc1(self.norm2(x)))))


class CoAtNet(nn.Module):
    """A stem, these blocks and a classifier."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.LazyLinear(CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.blocks(self.stem(x)).mean((2, 3))))
