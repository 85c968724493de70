"""Heights and widths of images: what a user asks for, and what the file makes of other sizes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from onnx2mvit.base.quiet import one_line
from onnx2mvit.errors import InvalidModelError, UnsupportedError, UsageError
from onnx2mvit.runtimes.images import structured_images

if TYPE_CHECKING:
    import keras

    from onnx2mvit.lifter.lift import Network

ImageSize = tuple[int, int] | Literal["any"]
SMALLEST, LARGEST = 32, 8192
ELSEWHERE = 64  # pixels that are added to look at a file of dynamic size at another size


def parse_size(text: str) -> tuple[int, int]:
    """ "320" is (320, 320), "192x256" is (192, 256): height and width.

    Raises:
        UsageError: it is neither, or out of bounds.
    """
    parts = text.lower().split("x")
    sizes = [int(part) for part in parts if part.isdecimal()]
    if len(sizes) != len(parts) or len(sizes) > 2:
        raise UsageError(f"image size {text!r}: give a number of pixels, or HEIGHTxWIDTH")
    if not all(SMALLEST <= size <= LARGEST for size in sizes):
        raise UsageError(f"image size {text!r}: from {SMALLEST} to {LARGEST} pixels")
    return sizes[0], sizes[-1]


def parse_image_size(text: str) -> ImageSize:
    """The same, or "any"."""
    return "any" if text == "any" else parse_size(text)


def image_shape(network: Network) -> tuple[int, int, int]:
    """Channels, height and width of the images that the graph was read for."""
    (image,) = network.graph.inputs
    assert image.shape is not None
    _, channels, height, width = image.shape
    return channels, height, width


def traced_size(network: Network) -> tuple[int, int]:
    """Height and width that the graph was read at."""
    _, height, width = image_shape(network)
    return height, width


def by_rule(network: Network) -> str:
    """Which sizes the model can be made for."""
    block = network.fixed_by
    if block is None and network.coverage.single_ops:
        return "any height and width that the single operators take"
    if block is None:
        return "any height and width from 32"
    return f"none but the traced one: {block.name} ({block.kind}) holds for it alone"


@contextmanager
def single_operators_fit(network: Network, size: ImageSize | None) -> Iterator[None]:
    """Turns Keras's complaint that a single operator does not fit a size into one for the user."""
    try:
        yield
    except ValueError as error:
        if size in (None, traced_size(network)) or not network.coverage.single_ops:
            raise
        wanted = size if isinstance(size, str) else "×".join(map(str, size or ()))
        raise UnsupportedError(
            f"the model cannot be made for images of size {wanted}: a single operator, which is "
            f"not part of a known block, does not fit it ({one_line(error)})"
        ) from error


def look_elsewhere(
    path: Path, network: Network, model: keras.Model, size: tuple[int, int]
) -> dict[str, Any]:
    """What onnxruntime makes of a file that declares its size dynamic, at another size.

    The model was converted by the rule of its blocks; exporters often bake one size in, and
    then the file fails, or answers wrongly. Two structured images are compared.
    """
    from onnx2mvit.runtimes.comparison import Difference
    from onnx2mvit.runtimes.reference import Reference
    from onnx2mvit.verifier.probe import outputs_of
    from onnx2mvit.verifier.verification import TOLERANCE

    images = structured_images(2, *size, image_shape(network)[0])
    looked = {"size": list(size)}
    try:
        answers = Reference(path)(images)
    except InvalidModelError as error:
        return looked | {"onnxruntime": "fails", "why": str(error)}
    differences = []
    for name, array in outputs_of(model, network, images).items():
        if array.shape != answers[name].shape:
            shapes = f"Keras has shape {list(array.shape)}, onnxruntime {list(answers[name].shape)}"
            return looked | {"onnxruntime": "differs", "why": f"{name}: {shapes}"}
        difference = Difference(name, "output")
        difference.add(array, answers[name])
        differences.append(difference.max_rel_error)
    verdict = "agrees" if max(differences) <= TOLERANCE else "differs"
    return looked | {"onnxruntime": verdict, "max_rel_error": max(differences)}
