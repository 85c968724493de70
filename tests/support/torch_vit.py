"""Vision transformers in torch as the code bases write them, so small that they export in a second.

Modules are named as in timm where it has them. What differs between networks is an argument.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.support.torch_attention import Attention


def quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def gelu_tanh(x: Tensor) -> Tensor:
    return functional.gelu(x, approximate="tanh")


def gelu_new(x: Tensor) -> Tensor:
    """As OpenAI wrote it for GPT."""
    return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))


@dataclass(frozen=True)
class Config:
    """`prefix` has the number of learned tokens of each parameter that goes before the patches.

    `stem` is "patch" or "convs" (ml-cvnets, arXiv:2106.14881), `positions` those that have one:
    "all" tokens or "patches". `head` is "token", "cut" (ml-cvnets), "mean", "distilled",
    "teacher" or "pooler".
    """

    attention: str = "fused"
    stem: str = "patch"
    prefix: tuple[int, ...] = (1,)
    positions: str = "all"
    layer_scale: bool = False
    qkv_bias: bool = True
    activation: Callable[[Tensor], Tensor] = functional.gelu
    head: str = "token"
    size: tuple[int, int] = (32, 48)
    dim: int = 24
    depth: int = 2
    patch: int = 8
    classes: int = 7


class LayerScale(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Block(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        dim = config.dim
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(config.attention, dim, 3, config.qkv_bias, 0.0)
        self.attn.out_proj = nn.Linear(dim, dim)
        self.ls1 = LayerScale(dim) if config.layer_scale else nn.Identity()
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.ls2 = LayerScale(dim) if config.layer_scale else nn.Identity()
        self.activation = config.activation

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + cast(Tensor, self.ls2(self.fc2(self.activation(self.fc1(self.norm2(x))))))


def stem(config: Config) -> nn.Module:
    if config.stem == "patch":
        return nn.Conv2d(3, config.dim, config.patch, config.patch)
    # ml-cvnets pads each convolution by half of its kernel, rounded down.
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 4, 4, 1, bias=False), nn.BatchNorm2d(8), nn.SiLU()),
        nn.Conv2d(8, config.dim, 2, 2),
    )


class ViT(nn.Module):
    def __init__(self, config: Config, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        dim, (height, width) = config.dim, config.size
        patches = (height // config.patch) * (width // config.patch)
        self.patch_embed = stem(config)
        self.tokens = nn.ParameterList(torch.empty(1, number, dim) for number in config.prefix)
        positions = patches + (sum(config.prefix) if config.positions == "all" else 0)
        self.pos_embed = nn.Parameter(torch.empty(1, positions, dim))
        self.blocks = nn.Sequential(*(Block(config) for _ in range(config.depth)))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pooler = nn.Linear(dim, dim)
        self.head = nn.Linear(dim, config.classes)
        self.head_dist = nn.Linear(dim, config.classes)
        randomize(self, seed)
        self.eval()

    def embed(self, image: Tensor) -> Tensor:
        x = self.patch_embed(image).flatten(2).transpose(1, 2)
        tokens = [token.expand(x.shape[0], -1, -1) for token in self.tokens]
        if self.config.positions == "patches":
            x = x + self.pos_embed
        x = torch.cat([*tokens, x], dim=1) if tokens else x
        return cast(Tensor, x if self.config.positions == "patches" else x + self.pos_embed)

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        x = self.norm(self.blocks(self.embed(image)))
        match self.config.head:
            case "token":
                return cast(Tensor, self.head(x[:, 0]))
            case "cut":
                token, _ = torch.split(x, [1, x.shape[1] - 1], dim=1)
                return cast(Tensor, self.head(token.squeeze(1)))
            case "mean":
                return cast(Tensor, self.head(x[:, sum(self.config.prefix) :].mean(dim=1)))
            case "pooler":
                return x, torch.tanh(self.pooler(x[:, 0]))
        logits, distilled = self.head(x[:, 0]), self.head_dist(x[:, 1])
        mean = (logits + distilled) / 2
        return mean if self.config.head == "distilled" else (mean, logits, distilled)


def randomize(model: nn.Module, seed: int) -> None:
    """No two tensors alike, attention not flat, positions that matter."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            spread = 1.3 / parameter[0].numel() ** 0.5 if parameter.ndim > 1 else 0.1
            parameter.normal_(0.0, spread, generator=generator)
            if parameter.ndim == 1 and not name.endswith("bias"):
                parameter.add_(1.0)
            if "token" in name or "pos" in name:
                parameter.normal_(0.0, 0.5, generator=generator)
