"""What the terminal and the page say alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FOLDED = (
    "There is no batch normalization in the file, and its convolutions have biases: if the network "
    "had any, the exporter folded it, and it cannot be brought back. For fine-tuning, export again "
    "with it kept (docs: README)."
)


def shown_params(params: dict[str, Any], usual: Mapping[str, Any]) -> str:
    """The hyperparameters that are not at their usual values."""
    return ", ".join(
        f"{key}={value}" for key, value in params.items() if key not in usual or value != usual[key]
    )
