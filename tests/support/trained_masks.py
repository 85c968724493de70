"""A network for segmentation that is trained on shapes, so that its masks mean something."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.support.scenes import SHAPES, scenes
from tests.support.torch_mobilevit import Config, Conv, InvertedResidual, MobileViTBlock
from tests.support.torch_segmentation import STRIDE, Head
from tests.support.torch_segmentation import Config as HeadConfig

CLASSES = 1 + len(SHAPES)
WIDTHS = (16, 24, 32)


class Masks(nn.Module):
    """MobileViT's blocks to an eighth of the image, DeepLabV3's head, and the image's size."""

    def __init__(self) -> None:
        super().__init__()
        config = Config(dim=48, heads=4, attention=("hf",), dropout=0.0)
        first, second, third = WIDTHS
        self.encoder = nn.Sequential(
            Conv(config, 3, first, 3, stride=2),
            InvertedResidual(config, first, second, stride=2),
            InvertedResidual(config, second, third, stride=2),
            InvertedResidual(config, third, third),
            MobileViTBlock(config, third),
        )
        self.seg_head = Head(HeadConfig(classes=CLASSES, features=third, filters=32))

    def forward(self, x: Tensor) -> Tensor:
        y = self.seg_head(self.encoder(x))
        how: dict[str, Any] = {"mode": "bilinear", "align_corners": False}
        return functional.interpolate(y, scale_factor=float(STRIDE), **how)


def trained(steps: int = 300, batch: int = 16) -> Masks:
    """A network that finds discs, squares and triangles, each pixel of which counts as much."""
    torch.manual_seed(0)
    model = Masks().train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, steps)
    for step in range(steps):
        shown = scenes(batch, step)
        masks = torch.from_numpy(shown.masks)
        share = torch.bincount(masks.reshape(-1), minlength=CLASSES) / masks.numel()
        weight = 1 / (CLASSES * share.clamp(min=0.02))
        logits = model(torch.from_numpy(shown.images).permute(0, 3, 1, 2))
        loss = functional.cross_entropy(logits, masks, weight)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return model.eval()
