"""Photographs of one colour each, and a network that knows colours: accuracies that are known."""

import itertools
from pathlib import Path

import numpy as np
import onnx
from PIL import Image

from tests.support.graphs import model

COLOURS = np.array([*itertools.product((0.0, 1.0), repeat=3)])  # eight corners of a cube
NAMES = ["black", "blue", "green", "cyan", "red", "magenta", "yellow", "white"]


def colour_network(size: int | str = 32) -> onnx.ModelProto:
    """Takes RGB in [0, 1], (N, 3, size, size), and scores the corners by their distance.

    A text is a size that the file leaves open.
    """
    text = f"""g (float[N,3,{size},{size}] x) => (float[N,8] y) {{
        c = Conv(x, w, b)  p = GlobalAveragePool(c)  f = Flatten(p)  y = Gemm(f, m, v) }}"""
    return model(
        text,
        w=np.eye(3).reshape(3, 3, 1, 1),
        b=np.full(3, -0.5),
        m=(2 * COLOURS - 1).T,
        v=np.zeros(8),
    )


def photograph(path: Path, colour: int, seed: int = 0, side: int = 40) -> None:
    """A JPEG that is nearly of a corner's colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([colour, seed])
    noise = rng.uniform(-0.2, 0.2, (side, side + 8, 3))
    pixels = np.clip(0.3 + 0.4 * COLOURS[colour] + noise, 0, 1)
    Image.fromarray(np.round(255 * pixels).astype(np.uint8)).save(path, quality=95)


def folder_of_classes(folder: Path, each: int = 3) -> Path:
    """A folder for each colour, with so many images; those of class yellow are white."""
    for number, name in enumerate(NAMES):
        for seed in range(each):
            shown = 7 if name == "yellow" else number
            photograph(folder / f"{number}_{name}" / f"{seed}.jpg", shown, seed)
    return folder
