"""Images of another size than the traced one: what a model, and what the file makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx2mvit.base.quiet import one_line
from onnx2mvit.errors import InvalidModelError, UnsupportedError
from onnx2mvit.ir.image_size import ImageSize
from onnx2mvit.runtimes.images import structured_images

if TYPE_CHECKING:
    import keras

    from onnx2mvit.ir.network import Network

ELSEWHERE = 64  # pixels that are added to look at a file of dynamic size at another size


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

    images = structured_images(2, *size, network.image_shape[0])
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
