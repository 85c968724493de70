"""DeepLabV3 and PSPNet in torch, on a backbone of three convolutions.

Modules are named as in Apple's ml-cvnets and in Hugging Face's transformers; `order` says which of
them joins the branches like this, and `resize` how the mask is made as large as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.support.torch_mobilevit import randomize

CLASSES, FILTERS, FEATURES, STRIDE = 5, 8, 12, 8


@dataclass(frozen=True)
class Config:
    """A head ("deeplabv3", "pspnet", "fcn" or "simple"), and what its code bases do otherwise."""

    head: str = "deeplabv3"
    rates: tuple[int, ...] = (2, 4)
    separable: bool = False
    image_first: bool = False  # as Hugging Face's MobileNetV2
    conv: bool = False  # before the classifier, as torchvision
    sizes: tuple[int, ...] = (1, 2, 3)
    align_corners: bool = False
    resize: str | None = "scale"  # or "size", of the input
    classes: int = CLASSES
    features: int = FEATURES
    filters: int = FILTERS


class Conv(nn.Module):
    """A convolution that keeps the size, if it has no stride, normalization and ReLU."""

    def __init__(
        self, inputs: int, filters: int, kernel: int = 1, rate: int = 1, stride: int = 1,
        groups: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        around = rate * (kernel // 2)
        self.conv = nn.Conv2d(
            inputs, filters, kernel, stride, around, rate, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(filters)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))  # type: ignore[no-any-return]


class ASPP(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        features, filters = config.features, config.filters
        convs: list[nn.Module] = [Conv(features, filters)]
        for rate in config.rates:
            if config.separable:
                wide = Conv(features, features, 3, rate, groups=features)
                convs.append(nn.Sequential(wide, Conv(features, filters)))
            else:
                convs.append(Conv(features, filters, 3, rate))
        self.convs = nn.ModuleList(convs)
        self.pool = Conv(features, filters)
        self.project = Conv((len(convs) + 1) * filters, filters)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pool(functional.adaptive_avg_pool2d(x, 1))
        image = functional.interpolate(
            pooled, size=x.shape[2:], mode="bilinear", align_corners=self.config.align_corners
        )
        branches = [conv(x) for conv in self.convs]
        branches = [image, *branches] if self.config.image_first else [*branches, image]
        return self.project(torch.cat(branches, 1))  # type: ignore[no-any-return]


class PSP(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.psp_branches = nn.ModuleList(Conv(config.features, 4) for _ in config.sizes)
        self.fusion = Conv(config.features + 4 * len(config.sizes), config.filters, 3)

    def forward(self, x: Tensor) -> Tensor:
        levels = [x]
        for size, branch in zip(self.config.sizes, self.psp_branches, strict=True):
            y = branch(functional.adaptive_avg_pool2d(x, size))
            corners = self.config.align_corners
            levels.append(
                functional.interpolate(y, size=x.shape[2:], mode="bilinear", align_corners=corners)
            )
        return self.fusion(torch.cat(levels, 1))  # type: ignore[no-any-return]


class Head(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        features, filters = config.features, config.filters
        made: dict[str, Callable[[], nn.Module]] = {
            "deeplabv3": lambda: ASPP(config),
            "pspnet": lambda: PSP(config),
            "fcn": lambda: Conv(features, filters, 3),
            "simple": nn.Identity,
        }
        self.aspp = made[config.head]()
        self.conv = Conv(filters, filters, 3) if config.conv else nn.Identity()
        inputs = features if config.head == "simple" else filters
        self.classifier = nn.Conv2d(inputs, config.classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.conv(self.aspp(x)))  # type: ignore[no-any-return]


class Segmentation(nn.Module):
    """Logits of every pixel of an image (B, 3, H, W), or of every eighth in both directions."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = nn.Sequential(
            Conv(3, 8, 3, stride=2), Conv(8, 8, 3, stride=2), Conv(8, FEATURES, 3, stride=2)
        )
        self.seg_head = Head(config)
        randomize(self, 0, (64, 64))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        y = self.seg_head(self.encoder(x))
        how: dict[str, Any] = {"mode": "bilinear", "align_corners": self.config.align_corners}
        if self.config.resize == "scale":
            return functional.interpolate(y, scale_factor=float(STRIDE), **how)
        if self.config.resize == "size":
            return functional.interpolate(y, size=x.shape[2:], **how)
        return y  # type: ignore[no-any-return]
