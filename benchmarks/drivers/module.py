"""The module of torch that a network is, answering nothing but logits."""

from pathlib import Path
from typing import Any

import numpy as np
import torch


class Logits(torch.nn.Module):
    """Takes images (batch, 3, height, width), gives logits (batch, classes)."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model
        self.eval()

    def forward(self, images: torch.Tensor) -> Any:
        """A transformers model has its logits in an answer of its own."""
        answer = self.model(images)
        return getattr(answer, "logits", answer)


def load(network: Path) -> Logits:
    """The module of a network's folder; its class is imported from where it was defined."""
    return Logits(torch.load(network / "network.pt", weights_only=False))


def images(network: Path, batch: int) -> torch.Tensor:
    """So many images."""
    return torch.from_numpy(np.load(network / "images.npz")["images"][:batch].copy())
