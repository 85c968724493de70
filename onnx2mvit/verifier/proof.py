"""What a proof needs beside the comparison itself: the images, and the model at their size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx2mvit.builder.build import build, load, loading
from onnx2mvit.builder.sizes import ELSEWHERE, look_elsewhere, single_operators_fit
from onnx2mvit.errors import UnsupportedError, UsageError
from onnx2mvit.lifter.head import own_head
from onnx2mvit.runtimes.images import some_images

if TYPE_CHECKING:
    import keras

    from onnx2mvit.ir.network import Network
    from onnx2mvit.verifier.reference_outputs import Expectation
    from onnx2mvit.verifier.verification import Verification

INPUTS = 8


def expected(
    path: Path, network: Network, folder: str | Path | None, count: int = INPUTS
) -> Expectation:
    """What onnxruntime answers to the images in `folder`, or to `count` structured ones."""
    from onnx2mvit.verifier.reference_outputs import expect

    channels, height, width = network.image_shape
    images, description = some_images(folder, count, height, width, channels)
    return expect(path, network, images, description)


def prove(
    path: Path,
    network: Network,
    model: keras.Model,
    expectation: Expectation,
    progress: Callable[[str], None],
) -> Verification:
    """Compares a model, which takes images of the traced size, with the file."""
    from onnx2mvit.verifier.verification import verify_model

    return verify_model(
        path,
        network,
        model,
        expectation,
        progress=lambda done, total: progress(f"verify ({done} of {total} images)"),
    )


def load_traced(target: Path, network: Network) -> keras.Model:
    """A converted model with the head of the file, for images of the traced size.

    Raises:
        InvalidModelError: it is not what `convert` wrote.
        UsageError: it is a .keras file for another size, which cannot be built again.
    """
    own = own_head(network) if target.is_dir() else {}
    with loading(target):
        return at_size(load(target, **own), target, network, network.traced_size)


def at_size(
    model: keras.Model, source: Path, network: Network, size: tuple[int, int]
) -> keras.Model:
    """The model for images of this size, built again from its folder if need be.

    Raises:
        UsageError: it is a .keras file for another size, which cannot be built again.
    """
    _, *own, channels = model.input_shape
    if all(theirs in (ours, None) for ours, theirs in zip(size, own, strict=True)):
        return model
    if not source.is_dir():
        raise UsageError(
            f"{source} takes images of {own[0]}×{own[1]}, the ONNX file was traced at "
            f"{size[0]}×{size[1]}: verify the folder that it came in instead"
        )
    return build(source, input_shape=(*size, channels), **own_head(network))


def elsewhere(
    path: Path, network: Network, model: keras.Model, folder: Path
) -> dict[str, Any] | None:
    """What the file makes of another size than the traced one, if it declares to take others.

    None too where the model can be made for no other.
    """
    if not network.graph.source.dynamic_size or network.fixed_by is not None:
        return None
    traced = network.traced_size
    own = tuple(model.input_shape[1:3])
    size = (traced[0] + ELSEWHERE, traced[1]) if own in (traced, (None, None)) else own
    try:
        with single_operators_fit(network, size):
            there = at_size(model, folder, network, size)
    except UnsupportedError:
        return None
    return look_elsewhere(path, network, there, size)
