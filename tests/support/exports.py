"""Networks that tests export, how they are exported, and what they answer."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from onnx2mvit.exporter import ExportResult, export
from onnx2mvit.exporter.models import load

MODEL = "mobilevit_xxs"


@dataclass(frozen=True)
class Network:
    """What is known of a network: its side in pixels, its layers, its numbers, and its class."""

    size: int
    convolutions: int
    batch_norms: int
    parameters: int
    labels: int
    source: str


REAL = Network(256, 35, 32, 1_272_024, 1000, "MobileViTForImageClassification")


SMALL = Network(224, 6, 6, 6_226, 10, "ResNetForImageClassification")


@dataclass(frozen=True)
class Kind:
    """An export: of the real network or of the small one, by which exporter, and how."""

    network: Network
    exporter: str
    fold: bool

    def __str__(self) -> str:
        size = "small-" if self.network is SMALL else ""
        return f"{size}{self.exporter}-{'folded' if self.fold else 'kept'}"


WAYS = [(exporter, fold) for exporter in ("dynamo", "legacy") for fold in (False, True)]


QUICK = Kind(REAL, "legacy", False)  # of the real network in a fast run; the others are slow


KINDS = [
    *(Kind(SMALL, *way) for way in WAYS),
    QUICK,
    *(pytest.param(Kind(REAL, *way), marks=pytest.mark.slow) for way in WAYS[:2] + WAYS[3:]),
]


@cache
def random_model(seed: int = 0, name: str = MODEL) -> Any:
    """One that no test changes."""
    return load(name, "random", seed=seed, num_labels=None, warn=print).model


def images(batch: int, height: int = 256, width: int = 256) -> np.ndarray:
    return np.random.default_rng(batch).random((batch, 3, height, width), np.float32)


def answer(path: Path, batch: np.ndarray) -> np.ndarray:
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"pixel_values": batch})[0])


def torch_answer(model: Any, batch: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(model(torch.from_numpy(batch)).logits)


def quick(path: Path, **options: object) -> ExportResult:
    """Export with the exporter that takes a second instead of seven."""
    settings: dict[str, Any] = {"weights": "random", "exporter": "legacy", **options}
    model = str(settings.pop("model", MODEL))
    return export(model, path, **settings)


Exported = tuple[Kind, ExportResult]
Export = Callable[[Kind], ExportResult]
