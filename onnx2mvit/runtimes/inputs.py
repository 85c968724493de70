"""What a network is compared on: for each of its inputs an array of its type and shape."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.errors import UsageError
from onnx2mvit.ir.block import onnx_nodes_of
from onnx2mvit.runtimes.images import FROM_FOLDER, load_images, structured_images
from onnx2mvit.runtimes.layouts import to_onnx

if TYPE_CHECKING:
    from onnx2mvit.ir.graph import Value
    from onnx2mvit.ir.network import Network

Array = np.ndarray[Any, Any]
Size = tuple[int, int]
INTEGERS = 10  # where nothing tells how large they may be
WHITE = 255
# Factor, shift and whether it is rounded, of images in [0, 1] that take turns: as they are, around
# zero, bytes, and large whole numbers of both signs.
RANGES = ((1.0, 0.0, False), (4.0, -2.0, False), (255.0, 0.0, True), (400.0, -200.0, True))


def some_inputs(
    network: Network,
    folder: str | Path | None,
    count: int,
    size: Size | None = None,
    seed: int = 0,
    limit: int = FROM_FOLDER,
    beyond: bool = False,
    positive: bool = False,
) -> tuple[dict[str, Array], str]:
    """Inputs by name in the layout of the file, and what they are.

    Args:
        network: its images are in [0, 1], or 0 to 255 where they are integers; those of a folder
            are as its preprocessing makes them. All else is drawn from a normal distribution, or
            from the numbers that it may hold.
        folder: of images for the network's image; without it structured ones are made.
        count: so many of each, along the axis of the batch.
        size: height and width of the images, by default as the network was read.
        seed: of all that is made.
        limit: so many images of the folder at most.
        beyond: whether floats that are made here are also negative, large and whole: what a
            network does with those does not show in [0, 1].
        positive: whether they are between 0 and 1 instead, and neither: logarithms, roots and
            quotients are numbers there.

    Returns:
        Arrays of the dtype and shape that the file declares, and words for the report.

    Raises:
        UsageError: as `load_images`, or the network takes no image, or several.
    """
    images: Array | None = None
    what = f"{count} inputs (seed {seed})"
    if folder is not None:
        if network.image is None:
            raise UsageError("--images: the network does not take one image")
        height, width, channels = _image_shape(network, network.image, size)
        how = network.graph.source.preprocessing.for_input(network.image.dtype)
        images = load_images(Path(folder), height, width, channels, limit, how)
        count, what = len(images), f"{len(images)} images from {Path(folder).name}"
    elif network.graph.inputs == [network.image]:
        also = ", also negative, large and whole" if beyond else ""
        what = f"{count} structured images (seed {seed}){also}"
    if positive:
        what = f"{count} inputs between 0 and 1 (seed {seed}), as the file has no answers to others"
    made = {}
    for number, value in enumerate(network.graph.inputs):
        rng = np.random.default_rng([seed, number])
        if images is not None and value is network.image:
            array = _of_image(network, value, images)
        elif network.is_image(value):
            shape = _image_shape(network, value, size if value is network.image else None)
            pixels = structured_images(count, *shape, seed=seed + number)
            array = _of_image(network, value, pixels)
        else:
            array = _tensor(network, value, count, rng)
        if images is None and array.dtype.kind == "f":
            if positive:
                apart = np.abs(array) / (1 + np.abs(array))
                array = (0.05 + 0.9 * apart).astype(array.dtype)
            elif beyond:
                array = _spread(array, network.graph.batch_axes[value])
        made[value.name] = array
    return made, what


def _spread(array: Array, batch: int | None) -> Array:
    """Each of a batch in another of the ranges."""
    if batch is None:
        return array
    turned = np.moveaxis(array, batch, 0)
    parts = [
        np.round(part * factor + shift) if whole else part * factor + shift
        for part, (factor, shift, whole) in zip(turned, cycle(RANGES), strict=False)
    ]
    spread = np.moveaxis(np.stack(parts), 0, batch)
    return np.ascontiguousarray(spread.astype(array.dtype))


def _image_shape(network: Network, image: Value, size: Size | None) -> tuple[int, int, int]:
    height, width, channels = network.shape_of_image(image)
    return (*(size or (height, width)), channels)


def _of_image(network: Network, value: Value, pixels: Array) -> Array:
    """Pixels (N, H, W, C) in [0, 1] as the file takes them."""
    scaled = as_pixels(pixels, value.dtype or np.dtype(np.float32))
    return to_onnx(scaled, network.order(value))


def as_pixels(pixels: Array, dtype: np.dtype[Any]) -> Array:
    """Pixels in [0, 1] as an image of this type has them: integers are from 0 to 255."""
    return (pixels if dtype.kind == "f" else np.round(pixels * WHITE)).astype(dtype)


def _tensor(network: Network, value: Value, count: int, rng: np.random.Generator) -> Array:
    """Numbers for an input that is no image."""
    shape, batch = list(value.shape or ()), network.graph.batch_axes[value]
    if batch is not None:
        shape[batch] = count
    return drawn(shape, value.dtype or np.dtype(np.float32), below(network, value), rng)


def drawn(
    shape: Sequence[int], dtype: np.dtype[Any], below: int | None, rng: np.random.Generator
) -> Array:
    """Floats from a normal distribution, or integers from 0 to `below`, if that is known."""
    if dtype.kind == "f":
        return rng.normal(size=shape).astype(dtype)
    most = 2 if dtype.kind == "b" else below or INTEGERS
    array = rng.integers(0, most, shape)
    if most == 2 and array.ndim:  # a mask that leaves nothing is none
        array[..., 0] = 1
    return array.astype(dtype)


def below(network: Network, value: Value) -> int | None:
    """How many rows the smallest table has in which an input of integers is looked up."""
    reached, found = {value}, []
    for node in chain.from_iterable(map(onnx_nodes_of, network.graph)):
        taken = [each for each in node.inputs if each in reached]
        if not taken:
            continue
        table = node.inputs[0]
        if node.op in ("Gather", "GatherElements") and len(node.inputs) > 1:
            if node.inputs[1] in reached and table is not None and table.shape is not None:
                found.append(table.shape[node.attrs.get("axis", 0)])
            continue
        reached |= {made for made in node.outputs if made.dtype is None or made.dtype.kind in "iu"}
    return min(found, default=None)
