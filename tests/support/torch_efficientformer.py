"""A small EfficientFormer in torch, spelled as timm spells it, and near misses of it."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.support.torch_tinyvit import ConvNorm
from tests.support.torch_vit import LayerScale, randomize

HEADS, KEY_DIM, VALUE_DIM, CLASSES = 2, 4, 8, 5
DIM = 12
GRID = (3, 2)


@dataclass(frozen=True)
class Config:
    """What networks have otherwise, and (from `zeros` on) what is no EfficientFormer any more.

    Attributes:
        scaled: branches are scaled.
        zeros: what is behind the border counts as zeros when it is pooled.
        mean: what is pooled is not less the pixel itself.
        half: the MLPs alone are scaled.
        signed: the bias is for signed offsets.
        teachers: 1 has one head alone.
    """

    scaled: bool = True
    zeros: bool = False
    mean: bool = False
    half: bool = False
    signed: bool = False
    teachers: int = 2


class LayerScale2d(LayerScale):
    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma.view(1, -1, 1, 1)


def scales(config: Config, kind: type[LayerScale]) -> list[nn.Module]:
    """Those of the two branches."""
    first = kind(DIM) if config.scaled and not config.half else nn.Identity()
    return [first, kind(DIM) if config.scaled else nn.Identity()]


class MetaBlock2d(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(3, 1, 1, count_include_pad=config.zeros)
        self.fc1, self.fc2 = ConvNorm(DIM, 2 * DIM), ConvNorm(2 * DIM, DIM)
        self.ls1, self.ls2 = scales(config, LayerScale2d)
        self.mean = config.mean

    def forward(self, x: Tensor) -> Tensor:
        y = self.pool(x)
        x = x + self.ls1(y if self.mean else y - x)
        return cast(Tensor, x + self.ls2(self.fc2(functional.gelu(self.fc1(x)))))


class Attention(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.qkv = nn.Linear(DIM, HEADS * (2 * KEY_DIM + VALUE_DIM))
        self.proj = nn.Linear(HEADS * VALUE_DIM, DIM)
        place = torch.cartesian_prod(*(torch.arange(length) for length in GRID))
        way = place[:, None] - place[None]
        way = way + GRID[0] if config.signed else way.abs()
        self.register_buffer("index", way[..., 0] * 2 * GRID[0] + way[..., 1])
        self.table = nn.Parameter(torch.zeros(HEADS, 36))

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        qkv = self.qkv(x).reshape(b, n, HEADS, -1).permute(0, 2, 1, 3)
        q, k, v = qkv.split([KEY_DIM, KEY_DIM, VALUE_DIM], dim=3)
        scores = q @ k.transpose(-2, -1) * KEY_DIM**-0.5
        scores = scores + self.table[:, cast(Tensor, self.index)]
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(b, n, HEADS * VALUE_DIM)
        return cast(Tensor, self.proj(y))


class MetaBlock1d(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(DIM), nn.LayerNorm(DIM)
        self.attn = Attention(config)
        self.fc1, self.fc2 = nn.Linear(DIM, 2 * DIM), nn.Linear(2 * DIM, DIM)
        self.ls1, self.ls2 = scales(config, LayerScale)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return cast(Tensor, x + self.ls2(self.fc2(functional.gelu(self.fc1(self.norm2(x))))))


class EfficientFormer(nn.Module):
    """Two blocks that pool, two that attend, and two heads."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.stem = ConvNorm(3, DIM, 3, 2)
        self.pools = nn.Sequential(MetaBlock2d(config), MetaBlock2d(config))
        self.attends = nn.Sequential(MetaBlock1d(config), MetaBlock1d(config))
        self.norm = nn.LayerNorm(DIM)
        self.heads = nn.ModuleList(nn.Linear(DIM, CLASSES) for _ in range(config.teachers))

    def forward(self, image: Tensor) -> Tensor:
        x = self.pools(functional.relu(self.stem(image)))
        x = self.norm(self.attends(x.flatten(2).transpose(1, 2))).mean(1)
        answers = [head(x) for head in self.heads]
        return cast(Tensor, sum(answers[1:], answers[0]) / len(answers))


def efficientformer(**config: object) -> EfficientFormer:
    """For images of 6×4 pixels, with seeded weights that differ from each other."""
    model = EfficientFormer(Config(**config))  # type: ignore[arg-type]
    randomize(model, 0)
    for name, parameter in model.named_parameters():
        if "table" in name:
            nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    return model.eval()
