"""Small detectors in torch: SSD as ml-cvnets writes it, feature pyramids, encoder and decoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn import functional

M = TypeVar("M", bound=nn.Module)
SIZE = (64, 96)
CLASSES = 3
SCALES = (0.1, 0.4, 0.7, 1.05)
RATIOS = ((2, 3), (2, 3), (2,))
VARIANCES = (0.1, 0.2)


def conv(channels: int, filters: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
    """A convolution with what follows it in ml-cvnets."""
    padding = kernel // 2
    layer = nn.Conv2d(channels, filters, kernel, stride, padding, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(filters))


def separable(channels: int, filters: int, stride: int = 1) -> nn.Sequential:
    """ml-cvnets' SeparableConv2d."""
    return nn.Sequential(
        conv(channels, channels, 3, stride, channels), conv(channels, filters, 1), nn.ReLU()
    )


class Head(nn.Module):
    """What a map says of its boxes: 4 offsets and a score for each class."""

    def __init__(self, channels: int, anchors: int, projection: int | None, kernel: int) -> None:
        super().__init__()
        self.project: nn.Module = nn.Identity()
        if projection is not None:
            self.project = nn.Sequential(conv(channels, projection, 1), nn.ReLU())
            channels = projection
        self.outputs = 4 + CLASSES
        last = nn.Conv2d(channels, anchors * self.outputs, 1)
        apart = conv(channels, channels, 3, groups=channels)
        self.predict = last if kernel == 1 else nn.Sequential(apart, last)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = self.predict(self.project(x)).permute(0, 2, 3, 1)
        y = y.contiguous().view(x.shape[0], -1, self.outputs)
        return torch.split(y, [4, CLASSES], dim=-1)


def default_boxes(
    sizes: Sequence[tuple[int, int]],
    scales: Sequence[float] = SCALES,
    aspect_ratios: Sequence[Sequence[float]] = RATIOS,
) -> torch.Tensor:
    """SSD's, place by place, as ml-cvnets' generator makes them."""
    boxes = []
    for k, (height, width) in enumerate(sizes):
        small, large = scales[k], (scales[k] * scales[k + 1]) ** 0.5
        for row in range(height):
            for column in range(width):
                shapes = [(small, small), (large, large)]
                for ratio in (value**0.5 for value in aspect_ratios[k]):
                    shapes += [(small * ratio, small / ratio), (small / ratio, small * ratio)]
                centre = ((column + 0.5) / width, (row + 0.5) / height)
                boxes += [(*centre, *shape) for shape in shapes]
    return torch.tensor(boxes).clamp(0, 1)


@dataclass(frozen=True)
class Config:
    """What a detector gives, and what lies between its maps and heads."""

    decoded: bool = True
    pyramid: bool = False


class Pyramid(nn.Module):
    """A feature pyramid; ml-cvnets hands down what its 3×3 convolutions give."""

    def __init__(self, channels: list[int], filters: int) -> None:
        super().__init__()
        self.inner = nn.ModuleList(nn.Conv2d(each, filters, 1) for each in channels)
        self.layer = nn.ModuleList(nn.Conv2d(filters, filters, 3, padding=1) for _ in channels)

    def forward(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        last = self.inner[-1](maps[-1])
        found = [self.layer[-1](last)]
        for at in reversed(range(len(maps) - 1)):
            lateral = self.inner[at](maps[at])
            last = lateral + functional.interpolate(last, size=lateral.shape[-2:], mode="nearest")
            found.insert(0, self.layer[at](last))
        return found


class Detector(nn.Module):
    """Three maps, of which the last is the mean of all pixels, and a head for each."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.stem = nn.Sequential(conv(3, 8, 3, 2), nn.ReLU(), conv(8, 12, 3, 4), nn.ReLU())
        self.extra = separable(12, 16, 2)
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 10, 1), nn.ReLU())
        self.fpn = Pyramid([12, 16, 10], 8) if config.pyramid else None
        channels = [8, 8, 8] if config.pyramid else [12, 16, 10]
        anchors = [2 + 2 * len(ratios) for ratios in RATIOS]
        projections, kernels = (24, None, None), (3, 3, 1)
        made = zip(channels, anchors, projections, kernels, strict=True)
        self.heads = nn.ModuleList(Head(*each) for each in made)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = [self.stem(x)]
        maps.append(self.extra(maps[-1]))
        maps.append(self.pooled(maps[-1]))
        if self.fpn is not None:
            maps = self.fpn(maps)
        said = [head(each) for head, each in zip(self.heads, maps, strict=True)]
        offsets, scores = (torch.cat(each, dim=1) for each in zip(*said, strict=True))
        if not self.config.decoded:
            return scores, offsets
        defaults = default_boxes([tuple(each.shape[2:]) for each in maps])[None]
        size = torch.exp(offsets[..., 2:] * VARIANCES[1]) * defaults[..., 2:]
        centre = offsets[..., :2] * VARIANCES[0] * defaults[..., 2:] + defaults[..., :2]
        boxes = torch.cat([centre, size], dim=-1)
        middle, half = boxes[..., :2], boxes[..., 2:] * 0.5
        boxes = torch.cat([middle - half, middle + half], dim=-1)
        return torch.softmax(scores, dim=-1), boxes


def seeded(module: M, seed: int = 0) -> M:
    """The module with weights and statistics that no two of are alike, for evaluation."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            wide = tensor.ndim > 1
            spread = 1.3 / tensor[0].numel() ** 0.5 if wide else 0.1
            middle = 0.0 if wide or "bias" in name or "mean" in name else 1.0
            tensor.copy_(middle + spread * torch.randn(tensor.shape, generator=generator))
            if "var" in name:
                tensor.abs_().add_(0.3)
    return module.eval()


class Transformer(nn.Module):
    """torch's encoder and decoder layers, over the pixels of an image."""

    def __init__(self, norm_first: bool = False) -> None:
        super().__init__()
        how: dict[str, Any] = {"dropout": 0.0, "batch_first": True, "norm_first": norm_first}
        self.stem = nn.Conv2d(3, 16, 8, 8)
        self.queries = nn.Conv2d(3, 16, 16, 16)
        encoder = nn.TransformerEncoderLayer(16, 2, 48, activation="gelu", **how)
        self.encoder = nn.TransformerEncoder(encoder, 2, enable_nested_tensor=False)
        decoder = nn.TransformerDecoderLayer(16, 2, 32, **how)
        self.decoder = nn.TransformerDecoder(decoder, 2, nn.LayerNorm(16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        memory = self.encoder(self.stem(x).flatten(2).transpose(1, 2))
        tokens = self.queries(x).flatten(2).transpose(1, 2)
        answer: torch.Tensor = self.decoder(tokens, memory)
        return answer
