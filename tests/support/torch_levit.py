"""A small LeViT in torch, spelled as timm spells it, and near misses of it."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.support.torch_tinyvit import ConvNorm
from tests.support.torch_vit import randomize

KEY_DIM, CLASSES = 4, 5
DIMS, HEADS = (12, 20), 2
GRID = (5, 3)


@dataclass(frozen=True)
class Config:
    """What networks have otherwise, and (from `signed` on) what is no LeViT any more.

    Attributes:
        conv: it is of images and 1×1 convolutions.
        wrong: added to the bias between the first query and the second key.
        signed: the bias is for signed offsets.
        first: of the rows and columns that are queries of the smaller image.
        bare: there is no activation before the last layer of attention.
        plain: the second layer of the MLPs is not normalized.
    """

    conv: bool = False
    wrong: float = 0.0
    signed: bool = False
    first: int = 0
    bare: bool = False
    plain: bool = False


class LinearNorm(nn.Module):
    def __init__(self, dim: int, out: int) -> None:
        super().__init__()
        self.linear, self.bn = nn.Linear(dim, out, bias=False), nn.BatchNorm1d(out)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        return cast(Tensor, self.bn(x.flatten(0, 1)).reshape_as(x))


class Attention(nn.Module):
    """Of all pixels, or of every second in both directions, which makes the image smaller."""

    layer: type[nn.Module] = LinearNorm

    def __init__(self, config: Config, dim: int, out: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.config, self.grid, self.value_dim = config, grid, 2 * KEY_DIM
        self.smaller = dim != out
        shared = KEY_DIM + self.value_dim
        if self.smaller:
            self.kv = self.layer(dim, HEADS * shared)
            self.q = self.layer(dim, HEADS * KEY_DIM)
        else:
            self.qkv = self.layer(dim, HEADS * (KEY_DIM + shared))
        self.proj = self.layer(HEADS * self.value_dim, out)
        keys = torch.cartesian_prod(*(torch.arange(length) for length in grid))
        kept = self.every_second(keys.view(1, *grid, 2)) if self.smaller else keys
        way = kept.reshape(-1, 1, 2) - keys
        way = way + grid[0] if config.signed else way.abs()
        self.register_buffer("index", way[..., 0] * 2 * grid[0] + way[..., 1])
        self.table = nn.Parameter(torch.zeros(HEADS, 4 * grid[0] ** 2))
        wrong = torch.zeros(way.shape[:2])
        wrong[0, 1] = config.wrong
        self.register_buffer("wrong", wrong)

    def every_second(self, image: Tensor) -> Tensor:
        return image[:, self.config.first :: 2, self.config.first :: 2]

    def forward(self, x: Tensor) -> Tensor:
        b, n, d = x.shape
        sizes = [KEY_DIM, self.value_dim]
        if self.smaller:
            k, v = self.kv(x).view(b, n, HEADS, -1).split(sizes, dim=3)
            q = self.every_second(x.view(b, *self.grid, d)).reshape(b, -1, d)
            q = self.q(q).view(b, -1, HEADS, KEY_DIM)
        else:
            q, k, v = self.qkv(x).view(b, n, HEADS, -1).split([KEY_DIM, *sizes], dim=3)
        scores = q.permute(0, 2, 1, 3) @ k.permute(0, 2, 3, 1) * KEY_DIM**-0.5
        bias = self.table[:, cast(Tensor, self.index)] + cast(Tensor, self.wrong)
        y = ((scores + bias).softmax(-1) @ v.permute(0, 2, 1, 3)).transpose(1, 2)
        y = y.reshape(b, -1, HEADS * self.value_dim)
        return cast(Tensor, self.proj(y if self.config.bare else functional.hardswish(y)))


class ConvAttention(Attention):
    """The same of an image (B, C, H, W), by 1×1 convolutions."""

    layer = ConvNorm

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        sizes = [KEY_DIM, self.value_dim]
        if self.smaller:
            k, v = self.kv(x).view(b, HEADS, -1, h * w).split(sizes, dim=2)
            x = functional.avg_pool2d(x, 1, 2)
            q = self.q(x).view(b, HEADS, KEY_DIM, -1)
        else:
            q, k, v = self.qkv(x).view(b, HEADS, -1, h * w).split([KEY_DIM, *sizes], dim=2)
        bias = self.table[:, cast(Tensor, self.index)] + cast(Tensor, self.wrong)
        weights = (q.transpose(-2, -1) @ k * KEY_DIM**-0.5 + bias).softmax(-1)
        y = (v @ weights.transpose(-2, -1)).view(b, -1, *x.shape[2:])
        return cast(Tensor, self.proj(y if self.config.bare else functional.hardswish(y)))


class Mlp(nn.Module):
    def __init__(self, config: Config, dim: int) -> None:
        super().__init__()
        layer = ConvNorm if config.conv else LinearNorm
        self.ln1, last = layer(dim, 2 * dim), layer(2 * dim, dim)
        self.ln2: nn.Module = next(last.children()) if config.plain else last

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, x + self.ln2(functional.hardswish(self.ln1(x))))


class Block(nn.Module):
    def __init__(self, config: Config, dim: int, out: int, grid: tuple[int, int]) -> None:
        super().__init__()
        attention = ConvAttention if config.conv else Attention
        self.attn, self.mlp = attention(config, dim, out, grid), Mlp(config, out)

    def forward(self, x: Tensor) -> Tensor:
        y = self.attn(x)
        return cast(Tensor, self.mlp(y if self.attn.smaller else x + y))


class LeViT(nn.Module):
    """Two blocks, a smaller image, a block, and two heads."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        dim, out = DIMS
        half = (GRID[0] - config.first + 1) // 2, (GRID[1] - config.first + 1) // 2
        self.conv, self.stem = config.conv, ConvNorm(3, dim, 3, 2)
        self.blocks = nn.Sequential(
            Block(config, dim, dim, GRID),
            Block(config, dim, dim, GRID),
            Block(config, dim, out, GRID),
            Block(config, out, out, half),
        )
        self.bns = nn.ModuleList(nn.BatchNorm1d(out) for _ in range(2))
        self.heads = nn.ModuleList(nn.Linear(out, CLASSES) for _ in range(2))

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        if self.conv:
            x = self.blocks(x).mean((2, 3))
        else:
            x = self.blocks(x.flatten(2).transpose(1, 2)).mean(1)
        first, second = (head(bn(x)) for head, bn in zip(self.heads, self.bns, strict=True))
        return cast(Tensor, (first + second) / 2)


def levit(**config: object) -> LeViT:
    """For images of 10×6 pixels, with seeded weights that differ from each other."""
    model = LeViT(Config(**config))  # type: ignore[arg-type]
    randomize(model, 0)
    for name, parameter in model.named_parameters():
        if "table" in name:
            nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    return model.eval()
