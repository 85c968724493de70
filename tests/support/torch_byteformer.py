"""ByteFormer (arXiv:2306.00238) in torch, as ml-cvnets has it: no byte is hidden from others."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.support.torch_vit import Block, Config

DIM, WINDOW, CLASSES = 24, 4, 5


def filled(x: Tensor, window: int) -> Tensor:
    """With zeros at the end, so that windows fill it."""
    return functional.pad(x, (0, 0, 0, -x.shape[1] % window))


class Windowed(nn.Module):
    """A transformer layer in windows, which are shifted or not."""

    def __init__(self, shift: int) -> None:
        super().__init__()
        self.shift = shift
        self.layer = Block(Config(dim=DIM))

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, dim = x.shape
        y = filled(x, WINDOW)
        if self.shift:
            y = torch.roll(y, -self.shift, 1)
        y = self.layer(y.reshape(-1, WINDOW, dim)).reshape(batch, -1, dim)
        if self.shift:
            y = torch.roll(y, self.shift, 1)
        return y[:, :tokens]


class Merging(nn.Module):
    """Two neighbours become one; those that are padding, of which there are none, are zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.reduction = nn.Linear(2 * DIM, DIM, bias=False)
        self.norm = nn.LayerNorm(DIM)

    def forward(self, x: Tensor) -> Tensor:
        x[torch.zeros(x.shape[:2]) == float("-inf")] = 0
        x = filled(x, 2).unfold(1, 2, 2)
        return cast(Tensor, self.norm(self.reduction(x.reshape(x.shape[0], -1, 2 * DIM))))


class ByteFormer(nn.Module):
    """Bytes, of which -1 is padding, to logits."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(257, DIM)
        self.token_reduction_net = nn.Conv1d(DIM, DIM, 4, 2, bias=False)
        self.pos_embed = nn.Parameter(torch.zeros(1, 14, DIM))
        self.transformer = nn.ModuleList([Windowed(0), Windowed(2), Windowed(2)])
        self.downsamplers = nn.ModuleList([Merging(), Merging()])
        self.classifier = nn.Linear(DIM, CLASSES)

    def forward(self, bytes_: Tensor) -> Tensor:
        bytes_ = bytes_.clone()
        bytes_[bytes_ == -1] = 256
        x = self.embeddings(bytes_).permute(0, 2, 1)
        x = self.token_reduction_net(x).permute(0, 2, 1) + self.pos_embed
        for layer, merge in zip(self.transformer[:2], self.downsamplers, strict=True):
            x = merge(layer(x))
        x = self.transformer[2](x)
        return cast(Tensor, self.classifier(x.sum(1) / x.shape[1]))
