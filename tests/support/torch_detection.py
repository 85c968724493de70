"""Small detectors in torch: SSD as ml-cvnets writes it, feature pyramids, encoder and decoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from tests.support.scenes import scenes

M = TypeVar("M", bound=nn.Module)
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


def corners(boxes: torch.Tensor) -> torch.Tensor:
    """Boxes by their corners, from centre and size."""
    return torch.cat([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1)


def overlaps(some: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Intersection over union of boxes (n, 4) and (m, 4) by their corners, (n, m)."""
    low = torch.maximum(some[:, None, :2], others[None, :, :2])
    high = torch.minimum(some[:, None, 2:], others[None, :, 2:])
    both = (high - low).clamp(min=0).prod(-1)
    areas = [(each[:, 2:] - each[:, :2]).prod(-1) for each in (some, others)]
    return both / (areas[0][:, None] + areas[1] - both)


def wanted(there: np.ndarray[Any, Any], defaults: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The class and the offsets that each default box should be given (arXiv:1512.02325, 2.2)."""
    rows = torch.from_numpy(there)
    shared = overlaps(corners(defaults), rows[:, 1:])
    shared[shared.argmax(0), torch.arange(len(rows))] = 1.0  # each has one at least
    best, which = shared.max(1)
    labels = torch.where(best > 0.45, rows[which, 0], 0.0).long()
    low, high = rows[which, 1:3], rows[which, 3:]
    centre, size = (low + high) / 2, high - low
    shift = (centre - defaults[:, :2]) / defaults[:, 2:] / VARIANCES[0]
    return labels, torch.cat([shift, torch.log(size / defaults[:, 2:]) / VARIANCES[1]], -1)


def trained(steps: int = 350, batch: int = 16) -> Detector:
    """A detector that finds discs and squares; it is trained as SSD is (arXiv:1512.02325, 2.2)."""
    torch.manual_seed(0)
    model = Detector(Config(decoded=False)).train()
    defaults = default_boxes([(8, 12), (4, 6), (1, 1)])
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-2, steps)
    for step in range(steps):
        shown = scenes(batch, step, CLASSES - 1)
        scores, offsets = model(torch.from_numpy(shown.images).permute(0, 3, 1, 2))
        targets = [wanted(rows, defaults) for rows in shown.boxes]
        labels, shifts = (torch.stack(each) for each in zip(*targets, strict=True))
        positive = labels > 0
        each = functional.cross_entropy(scores.transpose(1, 2), labels, reduction="none")
        hardest = each.masked_fill(positive, 0).topk(3 * int(positive.sum()) // batch, dim=1)
        loss = each[positive].sum() + hardest.values.sum()
        loss = loss + functional.smooth_l1_loss(
            offsets[positive], shifts[positive], reduction="sum"
        )
        optimizer.zero_grad()
        torch.autograd.backward(loss / positive.sum())
        optimizer.step()
        schedule.step()
    answers = Detector(Config())
    answers.load_state_dict(model.state_dict())
    return answers.eval()
