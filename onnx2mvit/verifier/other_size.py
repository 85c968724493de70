"""What the file makes of another size than the traced one, and whether the model agrees."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx2mvit.builder.sizes import single_operators_fit
from onnx2mvit.errors import InvalidModelError, UnsupportedError
from onnx2mvit.runtimes.comparison import Comparison
from onnx2mvit.runtimes.images import structured_images
from onnx2mvit.runtimes.layouts import as_the_file, file_images
from onnx2mvit.runtimes.runner import InBatches
from onnx2mvit.runtimes.tolerances import FLOAT32
from onnx2mvit.verifier.proof import at_size

if TYPE_CHECKING:
    import keras

    from onnx2mvit.ir.network import Network

COMPARED = 2  # images
ELSEWHERE = 64  # pixels that are added to look at a file of dynamic size at another size


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


def look_elsewhere(
    path: Path, network: Network, model: keras.Model, size: tuple[int, int]
) -> dict[str, Any]:
    """What onnxruntime makes of a file that declares its size dynamic, at another size.

    The model was converted by the rule of its blocks; exporters often bake one size in, and
    then the file fails, or answers wrongly. Two structured images are compared.
    """
    from onnx2mvit.runtimes.onnxruntime_runner import OnnxRuntimeRunner

    images = file_images(network, structured_images(COMPARED, *size, network.image_shape[0]))
    looked = {"size": list(size)}
    try:
        session = OnnxRuntimeRunner(path)
        answers = InBatches(session, session.batch)(images)
    except InvalidModelError as error:
        return looked | {"onnxruntime": "fails", "why": str(error)}
    worst = 0.0
    for name, array in as_the_file(model, network)(images).items():
        if array.shape != answers[name].shape:
            shapes = f"Keras has shape {list(array.shape)}, onnxruntime {list(answers[name].shape)}"
            return looked | {"onnxruntime": "differs", "why": f"{name}: {shapes}"}
        worst = max(worst, Comparison().add(array, answers[name]).max_rel_error)
    verdict = "agrees" if worst <= FLOAT32 else "differs"
    return looked | {"onnxruntime": verdict, "max_rel_error": worst}
