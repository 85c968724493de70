"""MobileViT in torch as the code bases write it, so small that it is exported in a second.

Modules are named as in Apple's ml-cvnets, so that module paths are real ones. What differs
between networks is an argument, and so is how each layer writes attention.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.support.torch_attention import Attention

Parts = Sequence[tuple[str, nn.Module]]


class ChannelLayerNorm(nn.LayerNorm):
    """cvnets' own: where the second axis has as many places as channels, it takes that one."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] != self.normalized_shape[0]:
            return super().forward(x)
        deviation, mean = torch.std_mean(x, dim=1, keepdim=True, unbiased=False)
        shape = (1, self.normalized_shape[0], 1)
        scaled = (x - mean) / (deviation + self.eps)
        return torch.addcmul(self.bias.reshape(shape), scaled, self.weight.reshape(shape))


@dataclass(frozen=True)
class Config:
    """`attention` names a spelling for each transformer layer in turn."""

    attention: tuple[str, ...] = ("hf", "hf")
    dim: int = 24
    heads: int = 2
    patch: int = 2
    kernel: int = 3
    mlp_ratio: float = 2
    expansion: float = 2
    activation: type[nn.Module] = nn.SiLU
    attention_bias: bool = True
    norm: bool = True
    fusion: bool = True
    dilation: int = 1
    dropout: float = 0.1
    classes: int | None = 7
    layer_norm: type[nn.LayerNorm] = nn.LayerNorm
    size: tuple[int, int] = (32, 32)


def sequential(parts: Parts) -> nn.Sequential:
    made = nn.Sequential()
    for name, module in parts:
        made.add_module(name, module)
    return made


class Conv(nn.Module):
    """`block.conv`, `block.norm`, `block.act`; a bias if the network has no normalization."""

    def __init__(
        self,
        config: Config,
        inputs: int,
        filters: int,
        kernel: int = 1,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        norm: bool = True,
        act: bool = True,
    ) -> None:
        super().__init__()
        padding = kernel // 2 * dilation
        bias = norm and not config.norm
        conv = nn.Conv2d(inputs, filters, kernel, stride, padding, dilation, groups, bias)
        parts: list[tuple[str, nn.Module]] = [("conv", conv)]
        if norm and config.norm:
            parts.append(("norm", nn.BatchNorm2d(filters)))
        if act:
            parts.append(("act", config.activation()))
        self.block = sequential(parts)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.block(x))


class InvertedResidual(nn.Module):
    def __init__(
        self, config: Config, inputs: int, filters: int, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        hidden = round(inputs * config.expansion)
        depthwise = Conv(config, hidden, hidden, config.kernel, stride, dilation, groups=hidden)
        expand = [("exp_1x1", Conv(config, inputs, hidden))] if config.expansion != 1 else []
        project = Conv(config, hidden, filters, act=False)
        self.block = sequential([*expand, ("conv_3x3", depthwise), ("red_1x1", project)])
        self.residual = stride == 1 and inputs == filters

    def forward(self, x: Tensor) -> Tensor:
        y = cast(Tensor, self.block(x))
        return x + y if self.residual else y


class TransformerLayer(nn.Module):
    def __init__(self, config: Config, spelling: str) -> None:
        super().__init__()
        dim, hidden = config.dim, round(config.dim * config.mlp_ratio)
        norm = config.layer_norm
        dropout = nn.Dropout(config.dropout)
        attention = Attention(spelling, dim, config.heads, config.attention_bias, config.dropout)
        self.pre_norm_mha = nn.Sequential(norm(dim), attention, dropout)
        mlp = nn.Linear(dim, hidden), config.activation(), dropout, nn.Linear(hidden, dim)
        self.pre_norm_ffn = nn.Sequential(norm(dim), *mlp, dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = cast(Tensor, self.pre_norm_mha(x)) + x
        return x + cast(Tensor, self.pre_norm_ffn(x))


class MobileViTBlock(nn.Module):
    def __init__(self, config: Config, channels: int) -> None:
        super().__init__()
        dim, patch = config.dim, config.patch
        local = Conv(config, channels, channels, config.kernel)
        local_1x1 = Conv(config, channels, dim, norm=False, act=False)
        self.local_rep = sequential([("conv_3x3", local), ("conv_1x1", local_1x1)])
        layers = [TransformerLayer(config, spelling) for spelling in config.attention]
        self.global_rep = nn.Sequential(*layers, config.layer_norm(dim))
        self.conv_proj = Conv(config, dim, channels)
        self.fusion = Conv(config, 2 * channels, channels, config.kernel) if config.fusion else None
        self.patch = patch

    def forward(self, x: Tensor) -> Tensor:
        image = self.local_rep(x)
        batch, dim, *size = image.shape
        p = self.patch
        rows, columns = (math.ceil(length / p) for length in size)
        stretched = [rows * p, columns * p]
        if stretched != size:
            image = functional.interpolate(
                image, size=stretched, mode="bilinear", align_corners=False
            )
        y = image.reshape(batch * dim * rows, p, columns, p).transpose(1, 2)
        y = y.reshape(batch, dim, rows * columns, p * p).transpose(1, 3)
        y = y.reshape(batch * p * p, rows * columns, -1)
        for layer in self.global_rep:
            y = layer(y)
        y = y.contiguous().view(batch, p * p, rows * columns, -1).transpose(1, 3)
        y = y.reshape(batch * dim * rows, columns, p, p).transpose(1, 2)
        y = y.reshape(batch, dim, rows * p, columns * p)
        if stretched != size:
            y = functional.interpolate(y, size=size, mode="bilinear", align_corners=False)
        y = self.conv_proj(y)
        return y if self.fusion is None else cast(Tensor, self.fusion(torch.cat((x, y), dim=1)))


class GlobalPool(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(-2, -1))


class MobileViT(nn.Module):
    """Three stages are one here; without classes it is a feature extractor."""

    def __init__(self, config: Config, seed: int = 0) -> None:
        super().__init__()
        self.conv_1 = Conv(config, 3, 8, 3, stride=2)
        self.layer_1 = nn.Sequential(InvertedResidual(config, 8, 8))
        stride = 2 if config.dilation == 1 else 1  # segmentation dilates where it does not stride
        down = InvertedResidual(config, 8, 16, stride, config.dilation)
        self.layer_3 = nn.Sequential(down, MobileViTBlock(config, 16))
        self.conv_1x1_exp = Conv(config, 16, 32)
        self.classifier: nn.Module = nn.Identity()
        if config.classes is not None:
            head = [("global_pool", GlobalPool()), ("dropout", nn.Dropout(config.dropout))]
            self.classifier = sequential([*head, ("fc", nn.Linear(32, config.classes))])
        randomize(self, seed, config.size)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer_3(self.layer_1(self.conv_1(x)))
        return cast(Tensor, self.classifier(self.conv_1x1_exp(x)))


def randomize(model: nn.Module, seed: int, size: tuple[int, int]) -> None:
    """No two tensors alike, attention not flat, and statistics that fit."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.weight.normal_(0.0, 1.5 / module.weight[0].numel() ** 0.5)
                if module.bias is not None:
                    module.bias.normal_(0.0, 0.1)
            elif isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.BatchNorm2d):
                module.weight.uniform_(0.8, 1.2)
                module.bias.normal_(0.0, 0.1)
        model.train()
        for _ in range(10):
            model(torch.rand(8, 3, *size))
