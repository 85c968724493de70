"""A small Swin in torch, spelled as timm or as ml-cvnets spells it, and near misses of it."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

DIM, WINDOW, HEADS, CLASSES = 16, 4, 2, 5
PIXELS = WINDOW * WINDOW


@dataclass(frozen=True)
class Config:
    """What differs between code bases, and (from `bias` on) what is not Swin any more.

    Attributes:
        timm: the MLP sees tokens and patches are merged by a permutation; else images and slices.
        fused: one linear layer for query, key and value.
        depths: of the stages.
        size: of the image, for which the masks are made; a stage of one window is not shifted.
        fill: zeros fill the last windows "first" (torchvision), or once the image is "rolled"
            (timm); then a side of one window is not shifted.
        still: a stage is not shifted where one window spans a side (Hugging Face).
        pyramid: it gives what its stages do, instead of classes.
        zero: what is filled with.
        bias: added to the bias between the first two pixels of a window.
        mask: added to the first entry of every mask.
        back: by so many pixels it is rolled back too far.
        transposed: windows are taken column by column.
        scale: of the scores, times 1/√d.
    """

    timm: bool = False
    fused: bool = True
    depths: tuple[int, ...] = (2, 2)
    size: tuple[int, int] = (32, 32)
    fill: str = ""
    still: bool = False
    pyramid: bool = False
    zero: float = 0.0
    bias: float = 0.0
    mask: float = 0.0
    back: int = 0
    transposed: bool = False
    scale: float = 1.0


class Attention(nn.Module):
    def __init__(self, config: Config, dim: int, mask: Tensor | None) -> None:
        super().__init__()
        self.config = config
        names = ("qkv",) if config.fused else ("q", "k", "v")
        self.projections = nn.ModuleDict({n: nn.Linear(dim, 3 * dim // len(names)) for n in names})
        self.table = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2, HEADS))
        self.proj = nn.Linear(dim, dim)
        place = torch.cartesian_prod(torch.arange(WINDOW), torch.arange(WINDOW))
        way = place[:, None] - place[None] + WINDOW - 1
        self.register_buffer("index", way[..., 0] * (2 * WINDOW - 1) + way[..., 1])
        wrong = torch.zeros(PIXELS, PIXELS)
        wrong[0, 1] = config.bias
        self.register_buffer("wrong", wrong)
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        windows, _, dim = x.shape
        if self.config.fused:
            y = self.projections["qkv"](x)
            y = y.reshape(windows, PIXELS, 3, HEADS, dim // HEADS).permute(2, 0, 3, 1, 4)
            q, k, v = y[0], y[1], y[2]
        else:
            made = [layer(x) for layer in self.projections.values()]
            shape = (windows, PIXELS, HEADS, dim // HEADS)
            q, k, v = (each.reshape(shape).transpose(1, 2) for each in made)
        scores = q * (self.config.scale * (dim // HEADS) ** -0.5) @ k.transpose(-2, -1)
        table = self.table[cast(Tensor, self.index).reshape(-1)].reshape(PIXELS, PIXELS, HEADS)
        bias = table.permute(2, 0, 1)
        if self.config.bias:
            bias = bias + cast(Tensor, self.wrong)
        scores = scores + bias.unsqueeze(0)
        if self.mask is not None:
            count = len(cast(Tensor, self.mask))
            scores = scores.reshape(windows // count, count, HEADS, PIXELS, PIXELS)
            scores = scores + cast(Tensor, self.mask)[None, :, None]
            scores = scores.reshape(-1, HEADS, PIXELS, PIXELS)
        y = functional.softmax(scores, dim=-1) @ v
        return cast(Tensor, self.proj(y.transpose(1, 2).reshape(windows, PIXELS, dim)))


def mask_of(height: int, width: int, shifts: tuple[int, int], config: Config) -> Tensor:
    """As in the code of the paper: regions of the rolled image are numbered."""
    image, number = torch.zeros(height, width), 0
    down, right = (
        (slice(0, -WINDOW), slice(-WINDOW, -shift), slice(-shift, None)) for shift in shifts
    )
    for rows in down:
        for columns in right:
            image[rows, columns] = number
            number += 1
    windows = partition(image[None, ..., None], False)[..., 0]
    mask = torch.where(windows[:, None] == windows[:, :, None], 0.0, -100.0)
    mask[0, 0, 0] += config.mask
    return mask


def partition(x: Tensor, transposed: bool) -> Tensor:
    b, h, w, d = x.shape
    x = x.reshape(b, h // WINDOW, WINDOW, w // WINDOW, WINDOW, d)
    x = x.permute(0, 3, 1, 2, 4, 5) if transposed else x.permute(0, 1, 3, 2, 4, 5)
    return x.reshape(-1, PIXELS, d)


class Block(nn.Module):
    def __init__(self, config: Config, dim: int, size: tuple[int, int], number: int) -> None:
        super().__init__()
        self.config = config
        shift = WINDOW // 2 if number % 2 and size != (WINDOW, WINDOW) else 0
        self.shifts = (shift, shift)
        if config.fill:
            self.shifts = (shift * (size[0] > WINDOW), shift * (size[1] > WINDOW))
        if config.still and min(size) <= WINDOW:
            self.shifts = (0, 0)
        whole = (size[0] + -size[0] % WINDOW, size[1] + -size[1] % WINDOW)
        mask = mask_of(*whole, self.shifts, config) if any(self.shifts) else None
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = Attention(config, dim, mask)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        b, h, w, d = x.shape
        pads = (0, 0, 0, -w % WINDOW, 0, -h % WINDOW)
        y = self.norm1(x)
        if self.config.fill == "first":
            y = functional.pad(y, pads, value=self.config.zero)
        if any(self.shifts):
            y = torch.roll(y, (-self.shifts[0], -self.shifts[1]), (1, 2))
        if self.config.fill == "rolled":
            y = functional.pad(y, pads, value=self.config.zero)
        _, rows, columns, _ = y.shape
        y = self.attn(partition(y, self.config.transposed))
        y = y.reshape(b, rows // WINDOW, columns // WINDOW, WINDOW, WINDOW, d)
        if self.config.transposed:
            y = y.reshape(b, columns // WINDOW, rows // WINDOW, WINDOW, WINDOW, d).transpose(1, 2)
        y = y.permute(0, 1, 3, 2, 4, 5).reshape(b, rows, columns, d)
        if self.config.fill == "rolled":
            y = y[:, :h, :w]
        if any(self.shifts):
            y = torch.roll(y, [shift + self.config.back for shift in self.shifts], (1, 2))
        if self.config.fill == "first":
            y = y[:, :h, :w]
        x = x + y
        if self.config.timm:
            x = x.reshape(b, h * w, d)
        x = x + self.mlp(self.norm2(x))
        return x.reshape(b, h, w, d)


class PatchMerging(nn.Module):
    def __init__(self, config: Config, dim: int) -> None:
        super().__init__()
        self.timm = config.timm
        self.norm, self.reduction = nn.LayerNorm(4 * dim), nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        b, h, w, d = x.shape
        if self.timm:
            y = x.reshape(b, h // 2, 2, w // 2, 2, d).permute(0, 1, 3, 4, 2, 5).flatten(3)
        else:
            x0, x1 = x[:, 0::2, 0::2], x[:, 1::2, 0::2]
            y = torch.cat([x0, x1, x[:, 0::2, 1::2], x[:, 1::2, 1::2]], dim=-1)
        return cast(Tensor, self.reduction(self.norm(y)))


class Swin(nn.Module):
    """Patches of 4×4 pixels, stages with twice the channels each, the mean of all pixels."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.proj, self.norm = nn.Conv2d(3, DIM, 4, 4), nn.LayerNorm(DIM)
        layers: list[nn.Module] = []
        for stage, depth in enumerate(config.depths):
            dim = DIM * 2**stage
            size = (config.size[0] // (4 << stage), config.size[1] // (4 << stage))
            merging = [PatchMerging(config, dim // 2)] if stage else []
            blocks = nn.Sequential(*(Block(config, dim, size, n) for n in range(depth)))
            layers.append(nn.Sequential(*merging, blocks))
        self.layers = nn.Sequential(*layers)
        self.last, self.head = nn.LayerNorm(dim), nn.Linear(dim, CLASSES)

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        x = self.norm(self.proj(image).permute(0, 2, 3, 1))
        stages = []
        for layer in self.layers:
            x = layer(x)
            stages.append(x)
        if self.config.pyramid:
            return stages
        x = self.last(x)
        x = x.mean((1, 2)) if self.config.timm else x.permute(0, 3, 1, 2).mean((2, 3))
        return cast(Tensor, self.head(x))
