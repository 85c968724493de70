"""MobileNetV3-Small in torch (arXiv:1905.02244, table 2), with timm's names of modules.

It stands here because none of the packages that `export` needs has it. Apart from torch nothing is
imported: peers load it in their environments.
"""

from typing import NamedTuple, cast

from torch import Tensor, nn

SIZE = 224
STEM, LAST, HIDDEN, CLASSES = 16, 576, 1024, 1000
RELU, HSWISH = nn.ReLU, nn.Hardswish


class Shape(NamedTuple):
    """What a block is: `hidden` are the channels between its first and its last convolution."""

    kernel: int
    hidden: int
    channels: int
    squeeze: bool
    act: type[nn.Module]
    stride: int


STAGES = (
    (Shape(3, 16, 16, True, RELU, 2),),
    (Shape(3, 72, 24, False, RELU, 2), Shape(3, 88, 24, False, RELU, 1)),
    (
        Shape(5, 96, 40, True, HSWISH, 2),
        Shape(5, 240, 40, True, HSWISH, 1),
        Shape(5, 240, 40, True, HSWISH, 1),
    ),
    (Shape(5, 120, 48, True, HSWISH, 1), Shape(5, 144, 48, True, HSWISH, 1)),
    (
        Shape(5, 288, 96, True, HSWISH, 2),
        Shape(5, 576, 96, True, HSWISH, 1),
        Shape(5, 576, 96, True, HSWISH, 1),
    ),
)


def rounded(channels: float) -> int:
    """The multiple of 8 that is nearest, and not below nine tenths."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near


def conv(inputs: int, filters: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution without a bias, padded by half its kernel."""
    return nn.Conv2d(inputs, filters, kernel, stride, kernel // 2, groups=groups, bias=False)


class BatchNormAct(nn.Module):
    """Batch normalization and an activation; timm has the weights of `norm` one level up."""

    def __init__(self, channels: int, act: type[nn.Module] = nn.Identity) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        """Images of shape (batch, channels, height, width), as they come."""
        return cast(Tensor, self.act(self.norm(x)))


class SqueezeExcite(nn.Module):
    """A gate for each channel, from the means of all."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        reduced = rounded(channels / 4)
        self.conv_reduce = nn.Conv2d(channels, reduced, 1)
        self.act1 = nn.ReLU()
        self.conv_expand = nn.Conv2d(reduced, channels, 1)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Images of shape (batch, channels, height, width), as they come."""
        gate = self.conv_expand(self.act1(self.conv_reduce(x.mean((2, 3), keepdim=True))))
        return x * cast(Tensor, self.gate(gate))


class Separable(nn.Module):
    """A convolution of each channel and one of all; the channels stay as many."""

    def __init__(self, inputs: int, shape: Shape) -> None:
        super().__init__()
        kernel, hidden, channels, squeeze, act, stride = shape
        assert hidden == inputs and squeeze
        self.conv_dw = conv(inputs, inputs, kernel, stride, inputs)
        self.bn1 = BatchNormAct(inputs, act)
        self.se = SqueezeExcite(inputs)
        self.conv_pw = conv(inputs, channels)
        self.bn2 = BatchNormAct(channels)
        self.residual = stride == 1 and inputs == channels

    def forward(self, x: Tensor) -> Tensor:
        """Images of shape (batch, channels, height, width)."""
        y = self.bn2(self.conv_pw(self.se(self.bn1(self.conv_dw(x)))))
        return x + y if self.residual else cast(Tensor, y)


class InvertedResidual(nn.Module):
    """Expands, convolves each channel, squeezes, and projects."""

    def __init__(self, inputs: int, shape: Shape) -> None:
        super().__init__()
        kernel, hidden, channels, squeeze, act, stride = shape
        self.conv_pw = conv(inputs, hidden)
        self.bn1 = BatchNormAct(hidden, act)
        self.conv_dw = conv(hidden, hidden, kernel, stride, hidden)
        self.bn2 = BatchNormAct(hidden, act)
        self.se = SqueezeExcite(hidden) if squeeze else nn.Identity()
        self.conv_pwl = conv(hidden, channels)
        self.bn3 = BatchNormAct(channels)
        self.residual = stride == 1 and inputs == channels

    def forward(self, x: Tensor) -> Tensor:
        """Images of shape (batch, channels, height, width)."""
        y = self.bn2(self.conv_dw(self.bn1(self.conv_pw(x))))
        y = self.bn3(self.conv_pwl(self.se(y)))
        return x + y if self.residual else cast(Tensor, y)


class ConvBnAct(nn.Module):
    """The last convolution before pooling."""

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        self.conv = conv(inputs, filters)
        self.bn1 = BatchNormAct(filters, nn.Hardswish)

    def forward(self, x: Tensor) -> Tensor:
        """Images of shape (batch, channels, height, width)."""
        return cast(Tensor, self.bn1(self.conv(x)))


class MobileNetV3(nn.Module):
    """The network: logits (batch, 1000) of images (batch, 3, height, width)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = conv(3, STEM, 3, 2)
        self.bn1 = BatchNormAct(STEM, nn.Hardswish)
        stages: list[nn.Module] = []
        inputs = STEM
        for number, blocks in enumerate(STAGES):
            stage = nn.Sequential()
            for block in blocks:
                made = InvertedResidual if number else Separable
                stage.append(made(inputs, block))
                inputs = block.channels
            stages.append(stage)
        self.blocks = nn.Sequential(*stages, nn.Sequential(ConvBnAct(inputs, LAST)))
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.conv_head = nn.Conv2d(LAST, HIDDEN, 1)
        self.act2 = nn.Hardswish()
        self.classifier = nn.Linear(HIDDEN, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images."""
        x = self.blocks(self.bn1(self.conv_stem(x)))
        x = self.act2(self.conv_head(self.global_pool(x)))
        return cast(Tensor, self.classifier(x.flatten(1)))
