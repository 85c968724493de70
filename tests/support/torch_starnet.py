"""StarNet (arXiv:2403.19967) in torch, with timm's names for its modules."""

from typing import cast

from torch import Tensor, nn
from torch.nn import functional

CLASSES = 5


class Conv(nn.Sequential):
    """A convolution that keeps the size, normalized or not."""

    def __init__(
        self, inputs: int, filters: int, kernel: int = 1, groups: int = 1, bn: bool = True
    ):
        super().__init__()
        self.conv = nn.Conv2d(inputs, filters, kernel, padding=kernel // 2, groups=groups)
        if bn:
            self.bn = nn.BatchNorm2d(filters)


class Block(nn.Module):
    """`wrong` is what makes it another block."""

    def __init__(self, dim: int, ratio: int = 3, kernel: int = 7, wrong: str = "") -> None:
        super().__init__()
        self.wrong, wide = wrong, dim * ratio
        self.dwconv = Conv(dim, dim, kernel, dim)
        self.f1, self.f2 = Conv(dim, wide, bn=False), Conv(dim, wide, bn=wrong == "normed")
        self.g = Conv(wide, dim)
        self.dwconv2 = Conv(dim, dim, 3 if wrong == "kernel" else kernel, dim, bn=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.dwconv(x)
        one, other = functional.relu6(self.f1(y)), self.f2(x if self.wrong == "input" else y)
        y = one + other if self.wrong == "sum" else one * other
        y = self.dwconv2(self.g(y))
        return cast(Tensor, (y if self.wrong == "residual" else x) + y)


class StarNet(nn.Module):
    """A stem, these blocks and a classifier."""

    def __init__(self, *blocks: nn.Module, dim: int = 8) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, dim, 3, 2, 1), nn.BatchNorm2d(dim), nn.ReLU6())
        self.blocks = nn.Sequential(*blocks)
        self.norm, self.head = nn.BatchNorm2d(dim), nn.Linear(dim, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.norm(self.blocks(self.stem(x))).mean((2, 3))))
