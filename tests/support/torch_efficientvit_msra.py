"""A small EfficientViT of MSRA in torch, spelled as timm spells it, and near misses of it."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.support.torch_tinyvit import ConvNorm
from tests.support.torch_vit import randomize

DIM, KEY_DIM, WINDOW, CLASSES = 12, 4, 3, 5


@dataclass(frozen=True)
class Config:
    """What networks have otherwise, and (from `wrong` on) what is no EfficientViT any more.

    Attributes:
        kernels: of the queries' convolutions, one for each head.
        wrong: added to the bias between the first query and the second key.
        signed: the bias is for signed offsets.
        apart: no head sees what the one before it gives.
        bare: there is no activation in the MLPs.
        zero: what the last windows are filled with.
    """

    kernels: tuple[int, ...] = (5, 3)
    wrong: float = 0.0
    signed: bool = False
    apart: bool = False
    bare: bool = False
    zero: float = 0.0


class Attention(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, heads = config, len(config.kernels)
        self.value_dim = DIM // heads
        width = 2 * KEY_DIM + self.value_dim
        self.qkvs = nn.ModuleList(ConvNorm(self.value_dim, width) for _ in config.kernels)
        self.dws = nn.ModuleList(ConvNorm(KEY_DIM, KEY_DIM, k, 1, KEY_DIM) for k in config.kernels)
        self.proj = ConvNorm(DIM, DIM)
        places = torch.cartesian_prod(torch.arange(WINDOW), torch.arange(WINDOW))
        way = places[:, None] - places
        way = way + WINDOW if config.signed else way.abs()
        self.register_buffer("index", way[..., 0] * 2 * WINDOW + way[..., 1])
        self.table = nn.Parameter(torch.zeros(heads, 4 * WINDOW**2))
        wrong = torch.zeros(way.shape[:2])
        wrong[0, 1] = config.wrong
        self.register_buffer("wrong", wrong)

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        bias = self.table[:, cast(Tensor, self.index)] + cast(Tensor, self.wrong)
        made: list[Tensor] = []
        for i, part in enumerate(x.chunk(len(self.qkvs), dim=1)):
            y = made[-1] + part if made and not self.config.apart else part
            y = self.qkvs[i](y).view(b, -1, h, w)
            q, k, v = y.split([KEY_DIM, KEY_DIM, self.value_dim], dim=1)
            q, k, v = self.dws[i](q).flatten(2), k.flatten(2), v.flatten(2)
            weights = ((q * KEY_DIM**-0.5).transpose(-2, -1) @ k + bias[i]).softmax(-1)
            made.append((v @ weights.transpose(-2, -1)).view(b, self.value_dim, h, w))
        return cast(Tensor, self.proj(functional.relu(torch.cat(made, 1))))


class Mixer(nn.Module):
    """Attention within windows, which zeros fill, or in an image that is one."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attn, self.zero = Attention(config), config.zero

    def forward(self, x: Tensor) -> Tensor:
        b, d, h, w = x.shape
        if (h, w) == (WINDOW, WINDOW):
            return cast(Tensor, self.attn(x))
        pads = (0, 0, 0, -w % WINDOW, 0, -h % WINDOW)
        x = functional.pad(x.permute(0, 2, 3, 1), pads, value=self.zero)
        rows, columns = x.shape[1] // WINDOW, x.shape[2] // WINDOW
        x = x.view(b, rows, WINDOW, columns, WINDOW, d).transpose(2, 3)
        x = self.attn(x.reshape(b * rows * columns, WINDOW, WINDOW, d).permute(0, 3, 1, 2))
        x = x.permute(0, 2, 3, 1).view(b, rows, columns, WINDOW, WINDOW, d).transpose(2, 3)
        x = x.reshape(b, rows * WINDOW, columns * WINDOW, d)[:, :h, :w]
        return x.permute(0, 3, 1, 2)


class Residual(nn.Module):
    def __init__(self, m: nn.Module) -> None:
        super().__init__()
        self.m = m

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, x + self.m(x))


def sandwich(config: Config) -> nn.Sequential:
    act: nn.Module = nn.Identity() if config.bare else nn.ReLU()
    mlp = nn.Sequential(ConvNorm(DIM, 2 * DIM), act, ConvNorm(2 * DIM, DIM))
    return nn.Sequential(Residual(ConvNorm(DIM, DIM, 3, 1, DIM)), Residual(mlp))


def efficientvit(**config: object) -> nn.Module:
    """A stem of 2×2 pixels, a block, and a sandwich by itself; seeded weights, of any size."""
    made = Config(**config)  # type: ignore[arg-type]
    model = nn.Sequential(
        ConvNorm(3, DIM, 3, 2),
        sandwich(made),
        Residual(Mixer(made)),
        sandwich(made),
        sandwich(made),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(DIM, CLASSES),
    )
    randomize(model, 0)
    for name, parameter in model.named_parameters():
        if "table" in name:
            nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    return model.eval()
