"""A small EfficientFormerV2 in torch, spelled as timm spells it, and near misses of it."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.support.torch_efficientformer import LayerScale2d as Scale
from tests.support.torch_vit import randomize

DIM, OUT, HEADS, KEY_DIM, VALUE_DIM, CLASSES = 12, 20, 2, 4, 8, 5
GRID = (6, 4)


@dataclass(frozen=True)
class Config:
    """What is no EfficientFormerV2 any more.

    Attributes:
        silent: heads are mixed before the softmax alone.
        small: what was made smaller is made larger by repeating pixels.
        signed: the bias is for signed offsets.
        apart: the convolution of the values is not added.
        bare: the convolution in the MLP is not activated.
    """

    silent: bool = False
    small: bool = False
    signed: bool = False
    apart: bool = False
    bare: bool = False


class ConvNorm(nn.Sequential):
    def __init__(self, dim: int, out: int, size: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, out, size, stride, size // 2, groups=groups)
        self.bn = nn.BatchNorm2d(out)


class Attention(nn.Module):
    """With talking heads among all pixels, or of every second without, to fewer pixels."""

    def __init__(self, config: Config, out: int, grid: tuple[int, int], step: int) -> None:
        super().__init__()
        self.config, self.down = config, out != DIM
        values = HEADS * VALUE_DIM
        if self.down:
            self.q_local = nn.Conv2d(DIM, DIM, 3, 2, 1, groups=DIM)
            self.q_pool = nn.AvgPool2d(1, 2, 0)
        elif step == 2:
            self.stride_conv = ConvNorm(DIM, DIM, 3, 2, DIM)
            mode = "nearest" if config.small else "bilinear"
            self.upsample = nn.Upsample(scale_factor=2, mode=mode)
        self.smaller = step == 2 and not self.down
        self.q, self.k = ConvNorm(DIM, HEADS * KEY_DIM), ConvNorm(DIM, HEADS * KEY_DIM)
        self.v = ConvNorm(DIM, values)
        self.v_local = ConvNorm(values, values, 3, 2 if self.down else 1, values)
        self.talk1, self.talk2 = nn.Conv2d(HEADS, HEADS, 1), nn.Conv2d(HEADS, HEADS, 1)
        self.proj = ConvNorm(values, out)
        keys = torch.cartesian_prod(*(torch.arange(length) for length in grid))
        half = keys.view(*grid, 2)[::2, ::2].reshape(-1, 2)
        way = (half if self.down else keys)[:, None] - keys
        way = way + grid[0] if config.signed else way.abs()
        self.register_buffer("index", way[..., 0] * 2 * grid[0] + way[..., 1])
        self.table = nn.Parameter(torch.zeros(HEADS, 4 * grid[0] ** 2))

    def forward(self, x: Tensor) -> Tensor:
        b = x.shape[0]
        x = self.stride_conv(x) if self.smaller else x
        q = self.q(self.q_local(x) + self.q_pool(x) if self.down else x)
        v = self.v(x)
        local = self.v_local(v)
        q = q.reshape(b, HEADS, KEY_DIM, -1).permute(0, 1, 3, 2)
        scores = q @ self.k(x).reshape(b, HEADS, KEY_DIM, -1) * KEY_DIM**-0.5
        scores = scores + self.table[:, cast(Tensor, self.index)]
        if not self.down:
            scores = self.talk1(scores)
        weights = scores.softmax(-1)
        if not (self.down or self.config.silent):
            weights = self.talk2(weights)
        y = (weights @ v.reshape(b, HEADS, VALUE_DIM, -1).permute(0, 1, 3, 2)).transpose(2, 3)
        y = y.reshape(local.shape)
        y = y if self.config.apart else y + local
        y = self.upsample(y) if self.smaller else y
        return cast(Tensor, self.proj(functional.gelu(y)))


class Block(nn.Module):
    def __init__(self, config: Config, attn: nn.Module | None) -> None:
        super().__init__()
        self.attn, self.bare = attn, config.bare
        self.ls1, self.ls2 = Scale(DIM), Scale(DIM)
        self.fc1, self.mid = ConvNorm(DIM, 2 * DIM), ConvNorm(2 * DIM, 2 * DIM, 3, 1, 2 * DIM)
        self.fc2 = ConvNorm(2 * DIM, DIM)

    def forward(self, x: Tensor) -> Tensor:
        if self.attn is not None:
            x = x + self.ls1(self.attn(x))
        y = self.mid(functional.gelu(self.fc1(x)))
        return cast(Tensor, x + self.ls2(self.fc2(y if self.bare else functional.gelu(y))))


class EfficientFormerV2(nn.Module):
    """A block without attention, one with, one with a smaller image, a smaller image, two heads."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        half = (GRID[0] // 2, GRID[1] // 2)
        self.stem = ConvNorm(3, DIM, 3, 2)
        self.blocks = nn.Sequential(
            Block(config, None),
            Block(config, Attention(config, DIM, GRID, 1)),
            Block(config, Attention(config, DIM, half, 2)),
        )
        self.conv, self.attn = ConvNorm(DIM, OUT, 3, 2), Attention(config, OUT, GRID, 2)
        self.norm = nn.BatchNorm2d(OUT)
        self.head, self.head_dist = nn.Linear(OUT, CLASSES), nn.Linear(OUT, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        x = self.blocks(functional.gelu(self.stem(image)))
        x = self.norm(self.attn(x) + self.conv(x)).mean((2, 3))
        return cast(Tensor, (self.head(x) + self.head_dist(x)) / 2)


def efficientformer_v2(**config: object) -> EfficientFormerV2:
    """For images of 12×8 pixels, with seeded weights that differ from each other."""
    model = EfficientFormerV2(Config(**config))  # type: ignore[arg-type]
    randomize(model, 0)
    for name, parameter in model.named_parameters():
        if "table" in name:
            nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    return model.eval()
