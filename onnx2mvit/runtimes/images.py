"""Images to compare on: structured ones that are made here, or photographs from a folder.

They are as Keras takes them, NHWC; `layouts` brings them into the layout of a file.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from onnx2mvit.base.png import png_uri
from onnx2mvit.errors import UsageError
from onnx2mvit.ir.preprocessing import ASSUMED, Preprocessing
from onnx2mvit.runtimes.preprocessing import open_image, prepared

Images = np.ndarray[Any, np.dtype[np.float32]]
LARGEST = 1 << 28  # numbers in all of them
FROM_FOLDER = 64  # images at most, unless somebody says otherwise
THUMBNAIL = 192  # pixels along the longer side, at most
SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".webp"}


def structured_images(count: int, height: int, width: int, channels: int, seed: int = 0) -> Images:
    """Float32 images (count, height, width, channels) in [0, 1], all different and seeded.

    Plain noise is the same everywhere and says little about a network that looks for structure,
    so gradients, stripes, checks, rings, blobs, edges and noise at several scales take turns.

    Args:
        count: how many.
        height: in pixels.
        width: in pixels.
        channels: of a photograph 3.
        seed: another one makes other images.

    Raises:
        UsageError: there are to be none, or more than fit into memory.
    """
    if not 0 < count * height * width * channels <= LARGEST:
        raise UsageError(f"{count} images of {height}×{width} cannot be made: none, or too many")
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    makers = (_noise, _gradient, _stripes, _checks, _rings, _blobs, _edges, _clouds)
    images = [
        np.stack([makers[i % len(makers)](rng, y, x) for _ in range(channels)], axis=-1)
        for i in range(count)
    ]
    clipped: Images = np.clip(np.stack(images), 0, 1).astype(np.float32)
    return clipped


Plane = Any  # numpy types the result of arithmetic on arrays as Any


def _noise(rng: np.random.Generator, y: Plane, x: Plane) -> Plane:
    return rng.uniform(size=y.shape)


def _gradient(rng: np.random.Generator, y: Plane, x: Plane) -> Plane:
    angle = rng.uniform(0, 2 * np.pi)
    return 0.5 + 0.5 * (np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5))


def _stripes(rng: np.random.Generator, y: Plane, x: Plane) -> Plane:
    angle, frequency = rng.uniform(0, np.pi), rng.uniform(10, 100)
    return 0.5 + 0.5 * np.sin(frequency * (np.cos(angle) * x + np.sin(angle) * y))


def _checks(rng: np.random.Generator, y: Plane, x: Plane) -> Plane:
    fields = rng.integers(3, 20)
    low, high = sorted(rng.uniform(size=2))
    odd = (np.floor(x * fields) + np.floor(y * fields)) % 2
    return low + (high - low) * odd


def _rings(rng: np.random.Generator, y: Plane, x: Plane) -> Plane:
    centre_y, centre_x = rng.uniform(0.2, 0.8, size=2)
    return 0.5 + 0.5 * np.cos(rng.uniform(20, 80) * np.hypot(y - centre_y, x - centre_x))


def _blobs(rng: np.random.Generator, y: Plane, x: Plane) -> Plane:
    plane = np.full(y.shape, rng.uniform(0, 0.3))
    for _ in range(12):
        centre_y, centre_x, size = *rng.uniform(size=2), rng.uniform(0.02, 0.2)
        distance = (y - centre_y) ** 2 + (x - centre_x) ** 2
        plane += rng.uniform(-0.5, 1) * np.exp(-distance / size**2)
    return plane


def _edges(rng: np.random.Generator, y: Plane, x: Plane) -> Plane:
    plane = np.zeros(y.shape)
    for _ in range(8):
        angle = rng.uniform(0, 2 * np.pi)
        side = np.cos(angle) * (x - rng.uniform()) + np.sin(angle) * (y - rng.uniform()) > 0
        plane += side * rng.uniform(0, 0.25)
    return plane


def _clouds(rng: np.random.Generator, y: Plane, x: Plane) -> Plane:
    """Noise whose power falls with frequency, as in photographs."""
    height, width = y.shape
    spectrum = np.fft.rfft2(rng.normal(size=y.shape))
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    plane = np.fft.irfft2(spectrum / (np.hypot(rows, columns) + 1 / height), s=y.shape)
    return (plane - plane.min()) / np.ptp(plane)


def images_below(folder: Path) -> Iterator[Path]:
    """All images in a folder and in the folders in it, by name; of one folder at a time."""
    for path, inner, files in os.walk(folder):
        inner.sort()
        for name in sorted(files):
            if os.path.splitext(name)[1].lower() in SUFFIXES:  # noqa: PTH122 — of 100,000 names
                yield Path(path, name)


def check_folder(folder: str | Path | None) -> None:
    """Refuses what is no folder of images, before anything long is done; None is no folder at all.

    Raises:
        UsageError: no folder, or no images in it or in the folders in it.
    """
    if folder is None:
        return
    if not Path(folder).is_dir():
        raise UsageError(f"{folder} is not a folder of images")
    try:
        next(Path(folder).iterdir(), None)
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror}") from error
    if next(images_below(Path(folder)), None) is None:
        raise UsageError(f"{folder} holds no images ({', '.join(sorted(SUFFIXES))})")


def load_images(
    folder: Path,
    height: int,
    width: int,
    channels: int,
    limit: int = FROM_FOLDER,
    how: Preprocessing = ASSUMED,
) -> Images:
    """The images of a folder and of those in it, as (count, height, width, channels).

    Of more than `limit` as many are read, from all of its folders alike. They are as `how` makes
    them: by default the centre, as RGB or grey in [0, 1].

    Raises:
        UsageError: no folder, no images in it, or one that cannot be read.
        MissingDependencyError: pillow is not installed.
    """
    check_folder(folder)
    if channels not in (1, 3):
        raise UsageError(f"The model takes {channels} channels, images have 1 or 3")
    paths = list(images_below(folder))
    every = max(1.0, len(paths) / limit)
    chosen = [paths[int(every * number)] for number in range(min(limit, len(paths)))]
    return prepared(chosen, how, (height, width), channels)


def some_images(
    folder: str | Path | None,
    count: int,
    height: int,
    width: int,
    channels: int,
    seed: int = 0,
    limit: int = FROM_FOLDER,
    how: Preprocessing = ASSUMED,
) -> tuple[Images, str]:
    """The images of a folder, or structured ones, and what they are.

    Args:
        folder: None for structured ones.
        count: how many of those.
        height: in pixels.
        width: in pixels.
        channels: of a photograph 3.
        seed: of structured ones.
        limit: so many images of the folder at most.
        how: what photographs become.

    Returns:
        float32 (images, height, width, channels), and words for the report.

    Raises:
        UsageError: as `load_images`.
    """
    if folder is not None:
        images = load_images(Path(folder), height, width, channels, limit, how)
        return images, f"{len(images)} images from {Path(folder).name}"
    images = structured_images(count, height, width, channels, seed)
    return images, f"{count} structured images (seed {seed})"


def thumbnail(pixels: Plane) -> str:
    """A small picture of an image (H, W, C) of any range, as a data: URI."""
    step = -(-max(pixels.shape[:2]) // THUMBNAIL)
    height, width = (length // step for length in pixels.shape[:2])
    cells = pixels[: height * step, : width * step].reshape(height, step, width, step, -1)
    small = cells.astype(np.float64).mean((1, 3))
    small = small if small.shape[-1] == 3 else small.mean(-1, keepdims=True).repeat(3, axis=-1)
    small -= small.min()
    return png_uri(np.round(255 * small / max(small.max(), 1e-12)))


def photograph(path: Path) -> str:
    """A small picture of a photograph, as a data: URI of a JPEG.

    Raises:
        UsageError: it is no image, or not any more.
        MissingDependencyError: pillow is not installed.
    """
    image, content = open_image(path), io.BytesIO()
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    image.save(content, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
