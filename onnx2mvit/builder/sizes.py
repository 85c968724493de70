"""Models for images of another size than the traced one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx2mvit.base.quiet import one_line
from onnx2mvit.builder.build import build, load, loading
from onnx2mvit.errors import UnsupportedError, UsageError
from onnx2mvit.ir.image_size import ImageSize

if TYPE_CHECKING:
    import keras

    from onnx2mvit.ir.network import Network


@contextmanager
def single_operators_fit(network: Network, size: ImageSize | None) -> Iterator[None]:
    """Turns Keras's complaint that a single operator does not fit a size into one for the user.

    Raises:
        UnsupportedError: one does not, and which of the network's could be it.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        if size in (None, network.traced_size) or not network.coverage.single_ops:
            raise
        wanted = size if isinstance(size, str) else "×".join(map(str, size or ()))
        raise UnsupportedError(
            f"the model cannot be made for images of size {wanted}: a single operator, which is "
            f"not part of a known block, does not fit it ({one_line(error)})"
        ) from error


def default_size(target: Path, trust_module: bool = False) -> tuple[int, int] | None:
    """Height and width that a converted model takes, as it is without arguments; None for any.

    Args:
        target: the folder that `convert` wrote, or a .keras file.
        trust_module: as in `load`.
    """
    with loading(target):
        image = image_input(load(target, trust_module=trust_module))
    height, width = image.shape[1:3] if image is not None else (None, None)
    return (height, width) if height and width else None


def at_size(
    model: keras.Model, source: Path, size: tuple[int, int] | None, **arguments: Any
) -> keras.Model:
    """A model for images of this size, built again from its folder if need be.

    Args:
        model: what was loaded or built from `source`; returned as it is if it takes the size.
        source: the folder that `convert` wrote, or a .keras file.
        size: height and width; None where the model takes no image.
        arguments: what else goes to the model function.

    Raises:
        UsageError: it is a .keras file for another size, which cannot be built again.
    """
    image = image_input(model)
    if size is None or image is None:
        return model
    _, *own, channels = image.shape
    if all(theirs in (ours, None) for ours, theirs in zip(size, own, strict=True)):
        return model
    if not source.is_dir():
        raise UsageError(
            f"{source} takes images of {own[0]}×{own[1]}, not {size[0]}×{size[1]}: give the folder "
            "that it came in, from which it can be built for another size"
        )
    return build(source, input_shape=(*size, channels), **arguments)


def image_input(model: keras.Model) -> Any:
    """The one input that is (batch, height, width, channels); None if there is none, or several."""
    images = [tensor for tensor in model.inputs if len(tensor.shape) == 4]
    return images[0] if len(images) == 1 else None
