"""MobileViTv2 in torch as the code bases write it, so small that it is exported in a second.

Modules are named as in Apple's ml-cvnets. What differs between code bases is how they unfold and
fold, and what they do where patches do not fill the image.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.support.torch_mobilevit import (
    Config,
    Conv,
    GlobalPool,
    InvertedResidual,
    randomize,
    sequential,
)


@dataclass(frozen=True)
class ConfigV2(Config):
    """`unfold` and `fold` name a spelling; `stretch` is what Hugging Face leaves out."""

    unfold: str = "torch"
    fold: str = "torch"
    stretch: bool = True
    depth: int = 1
    bias: bool = True


CODE_BASES = {
    "hf": ConfigV2(stretch=False),
    "cvnets": ConfigV2(),
    "cvnets for mobile": ConfigV2(unfold="conv", fold="shuffle"),
    "timm": ConfigV2(unfold="reshape", fold="reshape"),
    "timm exportable": ConfigV2(fold="shuffle"),
}


def pointwise(inputs: int, filters: int, bias: bool) -> nn.Sequential:
    return sequential([("block", sequential([("conv", nn.Conv2d(inputs, filters, 1, bias=bias))]))])


class SeparableSelfAttention(nn.Module):
    def __init__(self, config: ConfigV2) -> None:
        super().__init__()
        self.dim = config.dim
        self.qkv_proj = pointwise(self.dim, 1 + 2 * self.dim, config.bias)
        self.out_proj = pointwise(self.dim, self.dim, config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = torch.split(self.qkv_proj(x), [1, self.dim, self.dim], dim=1)
        scores = self.dropout(functional.softmax(query, dim=-1))
        context = (key * scores).sum(dim=-1, keepdim=True)
        y = functional.relu(value) * context.expand_as(value)
        return cast(Tensor, self.out_proj(y))


class TransformerLayer(nn.Module):
    def __init__(self, config: ConfigV2) -> None:
        super().__init__()
        dim, hidden = config.dim, round(config.dim * config.mlp_ratio)
        dropout = nn.Dropout(config.dropout)
        attention = SeparableSelfAttention(config)
        self.pre_norm_attn = nn.Sequential(nn.GroupNorm(1, dim), attention, dropout)
        inner = sequential([("block", sequential([
            ("conv", nn.Conv2d(dim, hidden, 1, bias=config.bias)), ("act", config.activation()),
        ]))])  # fmt: skip
        outer = pointwise(hidden, dim, config.bias)
        self.pre_norm_ffn = nn.Sequential(nn.GroupNorm(1, dim), inner, dropout, outer, dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + cast(Tensor, self.pre_norm_attn(x))
        return cast(Tensor, self.pre_norm_ffn(x)) + x


class MobileViTV2Block(nn.Module):
    unfolding_weights: Tensor

    def __init__(self, config: ConfigV2, channels: int) -> None:
        super().__init__()
        dim, patch = config.dim, config.patch
        local = Conv(config, channels, channels, config.kernel, 1, config.dilation, groups=channels)
        local_1x1 = Conv(config, channels, dim, norm=False, act=False)
        self.local_rep = nn.Sequential(local, local_1x1)
        layers = [TransformerLayer(config) for _ in range(config.depth)]
        self.global_rep = nn.Sequential(*layers, nn.GroupNorm(1, dim))
        self.conv_proj = Conv(config, dim, channels, act=False)
        self.patch, self.stretch = patch, config.stretch
        self.unfold, self.fold = UNFOLD[config.unfold], FOLD[config.fold]
        picks = torch.eye(patch**2).reshape(-1, 1, patch, patch).repeat(dim, 1, 1, 1)
        self.register_buffer("unfolding_weights", picks, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        p = self.patch
        whole = [math.ceil(length / p) * p for length in x.shape[2:]]
        if self.stretch and whole != list(x.shape[2:]):
            x = functional.interpolate(x, size=whole, mode="bilinear", align_corners=True)
        image = self.local_rep(x)
        y = self.global_rep(self.unfold(self, image))
        return cast(Tensor, self.conv_proj(self.fold(self, y, image)))


def torch_unfold(block: MobileViTV2Block, image: Tensor) -> Tensor:
    p = block.patch
    y = functional.unfold(image, kernel_size=(p, p), stride=(p, p))
    return y.reshape(image.shape[0], image.shape[1], p * p, -1)


def reshape_unfold(block: MobileViTV2Block, image: Tensor) -> Tensor:
    batch, dim, height, width = image.shape
    p = block.patch
    y = image.reshape(batch, dim, height // p, p, width // p, p).permute(0, 1, 3, 5, 2, 4)
    return y.reshape(batch, dim, p * p, -1)


def conv_unfold(block: MobileViTV2Block, image: Tensor) -> Tensor:
    p, dim = block.patch, image.shape[1]
    y = functional.conv2d(image, block.unfolding_weights, stride=(p, p), groups=dim)
    return y.reshape(image.shape[0], dim, p * p, -1)


def torch_fold(block: MobileViTV2Block, y: Tensor, image: Tensor) -> Tensor:
    p, (batch, dim, pixels, patches) = block.patch, y.shape
    y = y.reshape(batch, dim * pixels, patches)
    return functional.fold(y, image.shape[2:], kernel_size=(p, p), stride=(p, p))


def reshape_fold(block: MobileViTV2Block, y: Tensor, image: Tensor) -> Tensor:
    batch, dim, height, width = image.shape
    p = block.patch
    y = y.reshape(batch, dim, p, p, height // p, width // p).permute(0, 1, 4, 2, 5, 3)
    return y.reshape(batch, dim, height, width)


def shuffle_fold(block: MobileViTV2Block, y: Tensor, image: Tensor) -> Tensor:
    batch, dim, height, width = image.shape
    p = block.patch
    y = y.reshape(batch, dim * p * p, height // p, width // p)
    return functional.pixel_shuffle(y, upscale_factor=p)


Unfold = Callable[[MobileViTV2Block, Tensor], Tensor]
Fold = Callable[[MobileViTV2Block, Tensor, Tensor], Tensor]
UNFOLD: dict[str, Unfold] = {
    "torch": torch_unfold,
    "reshape": reshape_unfold,
    "conv": conv_unfold,
}
FOLD: dict[str, Fold] = {
    "torch": torch_fold,
    "reshape": reshape_fold,
    "shuffle": shuffle_fold,
}


class MobileViTV2(nn.Module):
    """Three stages are one here."""

    def __init__(self, config: ConfigV2, seed: int = 0) -> None:
        super().__init__()
        self.conv_1 = Conv(config, 3, 8, 3, stride=2)
        self.layer_1 = nn.Sequential(InvertedResidual(config, 8, 8))
        down = InvertedResidual(config, 8, 16, 2 if config.dilation == 1 else 1, config.dilation)
        self.layer_3 = nn.Sequential(down, MobileViTV2Block(config, 16))
        self.classifier = nn.Sequential(GlobalPool(), nn.Linear(16, config.classes or 7))
        randomize(self, seed, config.size)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.classifier(self.layer_3(self.layer_1(self.conv_1(x)))))
