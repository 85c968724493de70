"""MaxViT in torch, so small that it exports in a second; modules named as in timm."""

from typing import cast

import torch
from torch import Tensor, nn

from tests.support.torch_coatnet import Shortcut

WINDOW = 2


def offsets() -> Tensor:
    """(N, N): a number for the offset between two pixels of a window."""
    y, x = torch.meshgrid(torch.arange(WINDOW), torch.arange(WINDOW), indexing="ij")
    places = torch.stack([y.flatten(), x.flatten()])
    down, right = places[:, :, None] - places[:, None] + WINDOW - 1
    return cast(Tensor, down * (2 * WINDOW - 1) + right)


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads, self.index = heads, offsets()
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.bias_table = nn.Parameter(torch.randn((2 * WINDOW - 1) ** 2, heads))

    def forward(self, x: Tensor) -> Tensor:
        b, p, q, dim = x.shape
        qkv = self.qkv(x).view(b, -1, self.heads, 3 * dim // self.heads).transpose(1, 2)
        query, key, value = qkv.chunk(3, 3)
        scores = query @ key.transpose(-2, -1) * (dim // self.heads) ** -0.5
        scores = scores + self.bias_table[self.index].permute(2, 0, 1)
        y = scores.softmax(-1) @ value
        return cast(Tensor, self.proj(y.transpose(1, 2).reshape(b, p, q, dim)))


class Scale(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.rand(dim) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class MLP(nn.Module):
    def __init__(self, dim: int, act: nn.Module) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(dim, 2 * dim), act, nn.Linear(2 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.fc2(self.act(self.fc1(x))))


class PartitionAttention(nn.Module):
    """In windows or in a grid; `back` says how its groups become an image again."""

    def __init__(
        self, dim: int, heads: int, grid: bool, *, scaled: bool = False, gelu: str = "none"
    ) -> None:
        super().__init__()
        self.grid = self.back = grid
        self.norm1, self.attn = nn.LayerNorm(dim), Attention(dim, heads)
        self.norm2, self.mlp = nn.LayerNorm(dim), MLP(dim, nn.GELU(gelu))
        self.ls1 = Scale(dim) if scaled else nn.Identity()
        self.ls2 = Scale(dim) if scaled else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        b, h, w, c = x.shape
        rows, columns = h // WINDOW, w // WINDOW
        y = self.norm1(x)
        if self.grid:
            y = y.view(b, WINDOW, rows, WINDOW, columns, c).permute(0, 2, 4, 1, 3, 5)
        else:
            y = y.view(b, rows, WINDOW, columns, WINDOW, c).permute(0, 1, 3, 2, 4, 5)
        y = self.attn(y.contiguous().view(-1, WINDOW, WINDOW, c))
        y = y.view(-1, rows, columns, WINDOW, WINDOW, c)
        y = y.permute(0, 3, 1, 4, 2, 5) if self.back else y.permute(0, 1, 3, 2, 4, 5)
        x = x + self.ls1(y.contiguous().view(-1, h, w, c))
        return cast(Tensor, x + self.ls2(self.mlp(self.norm2(x))))


class ConvNeXtBlock(nn.Module):
    """With the shortcut of CoAtNet's."""

    def __init__(self, inputs: int, filters: int, stride: int) -> None:
        super().__init__()
        self.shortcut = Shortcut(inputs, filters, stride)
        self.conv_dw = nn.Conv2d(inputs, filters, 3, stride, 1, groups=inputs, bias=False)
        self.norm = nn.LayerNorm(filters)
        self.fc1 = nn.Conv2d(filters, 2 * filters, 1, bias=False)
        self.fc2 = nn.Conv2d(2 * filters, filters, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv_dw(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        y = self.fc2(nn.functional.gelu(self.fc1(y)))
        return cast(Tensor, y + self.shortcut(x))


class Block(nn.Module):
    def __init__(self, conv: nn.Module, dim: int, heads: int, **how: object) -> None:
        super().__init__()
        self.conv = conv
        self.attn_block = PartitionAttention(dim, heads, False, **how)  # type: ignore[arg-type]
        self.attn_grid = PartitionAttention(dim, heads, True, **how)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x).permute(0, 2, 3, 1)
        return cast(Tensor, self.attn_grid(self.attn_block(y)).permute(0, 3, 1, 2))


class MaxViT(nn.Module):
    """Of windows of 2×2 pixels: 4×4 and 2×2 of them, and a single one before the head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, 4)
        self.blocks = nn.Sequential(
            Block(ConvNeXtBlock(8, 8, 1), 8, 2, gelu="tanh"),
            Block(ConvNeXtBlock(8, 16, 2), 16, 1, scaled=True),
            Block(ConvNeXtBlock(16, 16, 2), 16, 2),
        )
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.blocks(self.stem(x)).permute(0, 2, 3, 1))
        return cast(Tensor, self.head(y.mean((1, 2))))
