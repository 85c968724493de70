"""A small TinyViT in torch, spelled as timm spells it, and near misses of it."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.support.torch_vit import randomize

HEADS, DIM, CLASSES = 2, 16, 5


@dataclass(frozen=True)
class Config:
    """What networks have otherwise, and (from `signed` on) what is no TinyViT any more.

    Attributes:
        window: pixels along the side of a window.
        signed: the bias is for signed offsets.
        wrong: added to the bias between the first two pixels.
        before: the windows are filled up before the image, not behind it.
        fill: with what windows are filled up.
        local: activation after the convolution.
        bare: the activation after a sum is missing.
    """

    window: int = 4
    signed: bool = False
    wrong: float = 0.0
    before: bool = False
    fill: float = 0.0
    local: bool = False
    bare: bool = False


class ConvNorm(nn.Sequential):
    def __init__(self, dim: int, out: int, size: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, out, size, stride, size // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out)


class MBConv(nn.Module):
    def __init__(self, dim: int, out: int, stride: int, config: Config) -> None:
        super().__init__()
        self.conv1 = ConvNorm(dim, 2 * dim)
        self.conv2 = ConvNorm(2 * dim, 2 * dim, 3, stride, 2 * dim)
        self.conv3 = ConvNorm(2 * dim, out)
        self.residual, self.bare = dim == out and stride == 1, config.bare

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(functional.gelu(self.conv1(x)))
        y = cast(Tensor, self.conv3(functional.gelu(y)))
        if not self.residual:
            return y
        return x + y if self.bare else functional.gelu(x + y)


class Attention(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        size = config.window
        self.norm, self.qkv = nn.LayerNorm(DIM), nn.Linear(DIM, 3 * DIM)
        self.proj = nn.Linear(DIM, DIM)
        place = torch.cartesian_prod(torch.arange(size), torch.arange(size))
        way = place[:, None] - place[None]
        index = way.abs() if not config.signed else way + size
        self.register_buffer("index", index[..., 0] * (2 * size) + index[..., 1])
        self.table = nn.Parameter(torch.zeros(HEADS, 4 * size * size))
        wrong = torch.zeros(size * size, size * size)
        wrong[0, 1] = config.wrong
        self.register_buffer("wrong", wrong)

    def forward(self, x: Tensor) -> Tensor:
        b, n, d = x.shape
        qkv = self.qkv(self.norm(x)).view(b, n, HEADS, -1).split([d // HEADS] * 3, dim=3)
        q, k, v = (each.permute(0, 2, 1, 3) for each in qkv)
        bias = self.table[:, cast(Tensor, self.index)] + cast(Tensor, self.wrong)
        scores = q * (d // HEADS) ** -0.5 @ k.transpose(-2, -1) + bias
        y = scores.softmax(-1) @ v
        return cast(Tensor, self.proj(y.transpose(1, 2).reshape(b, n, d)))


class Block(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.attn = config, Attention(config)
        self.local_conv = ConvNorm(DIM, DIM, 3, groups=DIM)
        self.norm = nn.LayerNorm(DIM)
        self.fc1, self.fc2 = nn.Linear(DIM, 2 * DIM), nn.Linear(2 * DIM, DIM)

    def forward(self, x: Tensor) -> Tensor:
        b, h, w, d = x.shape
        y, size = x, self.config.window
        if (h, w) == (size, size):
            y = self.attn(y.reshape(b, h * w, d)).view(b, h, w, d)
        else:
            down, right = -h % size, -w % size
            if down or right:
                pads = (
                    (0, 0, right, 0, down, 0) if self.config.before else (0, 0, 0, right, 0, down)
                )
                y = functional.pad(y, pads, value=self.config.fill)
            rows, columns = (h + down) // size, (w + right) // size
            y = y.view(b, rows, size, columns, size, d).transpose(2, 3)
            y = self.attn(y.reshape(-1, size * size, d))
            y = y.view(b, rows, columns, size, size, d).transpose(2, 3)
            y = y.reshape(b, h + down, w + right, d)[:, :h, :w]
        y = self.local_conv((x + y).permute(0, 3, 1, 2))
        y = functional.gelu(y) if self.config.local else y
        y = y.reshape(b, d, h * w).transpose(1, 2)
        y = y + self.fc2(functional.gelu(self.fc1(self.norm(y))))
        return cast(Tensor, y.view(b, h, w, d))


class TinyViT(nn.Module):
    """Strides 4 and 8; a stage of two blocks, the mean of all pixels."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.conv1, self.conv2 = ConvNorm(3, 8, 3, 2), ConvNorm(8, 8, 3, 2)
        self.mbconv, self.merging = MBConv(8, 8, 1, config), MBConv(8, DIM, 2, config)
        self.blocks = nn.Sequential(Block(config), Block(config))
        self.head = nn.Linear(DIM, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        x = self.conv2(functional.gelu(self.conv1(image)))
        x = self.merging(self.mbconv(x)).permute(0, 2, 3, 1)
        x = self.blocks(x).permute(0, 3, 1, 2)
        return cast(Tensor, self.head(x.mean((2, 3))))


def tiny_vit(**config: object) -> TinyViT:
    """With seeded weights that differ from each other."""
    model = TinyViT(Config(**config))  # type: ignore[arg-type]
    randomize(model, 0)
    for name, parameter in model.named_parameters():
        if "table" in name:
            nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    return model.eval()
