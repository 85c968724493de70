"""MobileViT in torch as the code bases write it, so small that it is exported in a second.

Modules are named as in Apple's ml-cvnets, so that module paths are real ones. What differs
between code bases and matters to a conversion is an argument: see `Config` and `ATTENTION`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

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


class Attention(nn.Module):
    """Multi-head self-attention, in one of the spellings of `ATTENTION`."""

    def __init__(self, config: Config, spelling: str) -> None:
        super().__init__()
        dim, bias = config.dim, config.attention_bias
        if spelling == "hf":
            self.query, self.key, self.value = (nn.Linear(dim, dim, bias) for _ in range(3))
        else:
            self.qkv_proj = nn.Linear(dim, 3 * dim, bias)
        self.out_proj = nn.Linear(dim, dim, bias)
        self.heads = config.heads
        self.scale = (dim // config.heads) ** -0.5
        self.spelling = ATTENTION[spelling]
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.out_proj(self.spelling(self, x)))

    def heads_apart(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(3, B, h, N, d), unbound: as timm has it."""
        batch, tokens, _ = x.shape
        qkv = self.qkv_proj(x).reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        return query, key, value

    def attend(self, scores: Tensor, value: Tensor) -> Tensor:
        y = torch.matmul(self.dropout(scores.softmax(dim=-1)), value)
        return y.transpose(1, 2).flatten(2)


def separate(self: Attention, x: Tensor) -> Tensor:
    """Hugging Face: three linear layers, the scores divided by √d."""
    parts = []
    for linear in (self.query, self.key, self.value):
        heads = linear(x).view(*x.shape[:-1], self.heads, -1)
        parts.append(heads.permute(0, 2, 1, 3))
    query, key, value = parts
    return self.attend(query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]), value)


def gather(self: Attention, x: Tensor) -> Tensor:
    """cvnets: one linear layer, parts taken by index, softmax in float."""
    batch, tokens, _ = x.shape
    qkv = self.qkv_proj(x).reshape(batch, tokens, 3, self.heads, -1).transpose(1, 3).contiguous()
    query, key, value = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
    scores = torch.matmul(query * self.scale, key.transpose(-1, -2))
    weights = scores.float().softmax(dim=-1).to(scores.dtype)
    y = torch.matmul(self.dropout(weights), value)
    return y.transpose(1, 2).reshape(batch, tokens, -1)


def chunks(self: Attention, x: Tensor) -> Tensor:
    """cvnets for mobile devices: every head by itself, cut out of the last axis."""
    query, key, value = torch.chunk(self.qkv_proj(x), 3, dim=-1)
    parts = (query * self.scale, key, value)
    heads = zip(*(torch.chunk(part, self.heads, dim=-1) for part in parts), strict=True)
    found = [
        self.dropout(torch.matmul(q, k.transpose(-1, -2)).softmax(dim=-1)) @ v for q, k, v in heads
    ]
    return torch.cat(found, dim=-1)


def sections(self: Attention, x: Tensor) -> Tensor:
    """The same with `split` in place of `chunk`, and the scale on the scores."""
    width = x.shape[-1] // self.heads
    query, key, value = self.qkv_proj(x).split(x.shape[-1], dim=-1)
    found = []
    for q, k, v in zip(*(part.split(width, -1) for part in (query, key, value)), strict=True):
        found.append(torch.softmax(q @ k.transpose(1, 2) * self.scale, -1) @ v)
    return torch.cat(found, -1)


def fused(self: Attention, x: Tensor) -> Tensor:
    """timm: torch's own attention."""
    query, key, value = self.heads_apart(x)
    return functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


def scale_query(self: Attention, x: Tensor) -> Tensor:
    """timm without torch's own: the scale on the query."""
    query, key, value = self.heads_apart(x)
    return self.attend(query * self.scale @ key.transpose(-2, -1), value)


def scale_both(self: Attention, x: Tensor) -> Tensor:
    query, key, value = self.heads_apart(x)
    root = math.sqrt(self.scale)
    return self.attend((query * root) @ (key * root).transpose(-2, -1), value)


def scale_scores(self: Attention, x: Tensor) -> Tensor:
    query, key, value = self.heads_apart(x)
    return self.attend(query @ key.transpose(-2, -1) * self.scale, value)


def divide_scores(self: Attention, x: Tensor) -> Tensor:
    query, key, value = self.heads_apart(x)
    return self.attend(query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1]), value)


ATTENTION: dict[str, Callable[[Attention, Tensor], Tensor]] = {
    "hf": separate,
    "gather": gather,
    "chunks": chunks,
    "sections": sections,
    "fused": fused,
    "scale on q": scale_query,
    "scale on q and k": scale_both,
    "scale on the scores": scale_scores,
    "scores divided": divide_scores,
}


class TransformerLayer(nn.Module):
    def __init__(self, config: Config, spelling: str) -> None:
        super().__init__()
        dim, hidden = config.dim, round(config.dim * config.mlp_ratio)
        norm = config.layer_norm
        dropout = nn.Dropout(config.dropout)
        self.pre_norm_mha = nn.Sequential(norm(dim), Attention(config, spelling), dropout)
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
            elif isinstance(module, nn.LayerNorm | nn.BatchNorm2d):
                module.weight.uniform_(0.8, 1.2)
                module.bias.normal_(0.0, 0.1)
        model.train()
        for _ in range(10):
            model(torch.rand(8, 3, *size))
