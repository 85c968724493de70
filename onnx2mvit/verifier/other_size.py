"""What the file makes of another size than the traced one, and whether the model agrees."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx2mvit.builder import at_size, image_input, single_operators_fit
from onnx2mvit.errors import InvalidModelError, UnsupportedError
from onnx2mvit.lifter.head import own_head
from onnx2mvit.runtimes import (
    InBatches,
    OnnxRuntimeRunner,
    as_the_file,
    compare,
    some_inputs,
    worst,
)
from onnx2mvit.runtimes.tolerances import OF_PRECISION

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
    traced = network.traced_size if network.fixed_by is None else None
    image = image_input(model)
    if traced is None or image is None or not network.graph.source.dynamic_size:
        return None
    own = tuple(image.shape[1:3])
    size = (traced[0] + ELSEWHERE, traced[1]) if own in (traced, (None, None)) else own
    try:
        with single_operators_fit(network, size):
            there = at_size(model, folder, size, **own_head(network))
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
    inputs, _ = some_inputs(network, None, COMPARED, size)
    looked = {"size": list(size)}
    try:
        session = OnnxRuntimeRunner(path, outputs=network.graph.source.outputs)
        answers = InBatches(session, network.file_batch, network.batch_axes)(inputs)
    except InvalidModelError as error:
        return looked | {"onnxruntime": "fails", "why": str(error)}
    ours = as_the_file(model, network)(inputs)
    for name, array in ours.items():
        if array.shape != answers[name].shape:
            shapes = f"Keras has shape {list(array.shape)}, onnxruntime {list(answers[name].shape)}"
            return looked | {"onnxruntime": "differs", "why": f"{name}: {shapes}"}
    found = worst(compare(ours, answers).values())
    verdict = "agrees" if found.within(OF_PRECISION[network.graph.source.precision]) else "differs"
    return looked | {"onnxruntime": verdict, "max_rel_error": found.max_rel_error}
