"""Models for images of another size than the traced one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from onnx2mvit.base.quiet import one_line
from onnx2mvit.errors import UnsupportedError
from onnx2mvit.ir.image_size import ImageSize

if TYPE_CHECKING:
    from onnx2mvit.ir.network import Network


@contextmanager
def single_operators_fit(network: Network, size: ImageSize | None) -> Iterator[None]:
    """Turns Keras's complaint that a single operator does not fit a size into one for the user."""
    try:
        yield
    except ValueError as error:
        if size in (None, network.traced_size) or not network.coverage.single_ops:
            raise
        wanted = size if isinstance(size, str) else "×".join(map(str, size or ()))
        raise UnsupportedError(
            f"the model cannot be made for images of size {wanted}: a single operator, which is "
            f"not part of a known block, does not fit it ({one_line(error)})"
        ) from error
