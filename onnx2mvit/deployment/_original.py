"""What a deployed file is compared with: the ONNX file it came from, or the Keras model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.deployment._interface import Interface
from onnx2mvit.errors import UsageError
from onnx2mvit.ir.layout import output_order
from onnx2mvit.stages import inspect

if TYPE_CHECKING:
    import keras

    from onnx2mvit.ir.network import Network

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Original:
    """Gives the right answers, in the order of outputs, for images in the layout of the model."""

    name: str
    answer: Callable[[Array], list[Array]]
    notes: tuple[str, ...] = ()

    def __call__(self, images: Array) -> list[Array]:
        """The answers in Keras's layout."""
        return self.answer(images)


def find_original(
    target: Path, given: Path | None, report: dict[str, Any], size: tuple[int, int]
) -> Original | None:
    """The ONNX file that is given, or that lies in one of the usual places.

    None if there is none, or if it takes images of another size.

    Raises:
        UsageError: the given file is not the one that the model was converted from, or takes
            images of another size.
        InvalidModelError: it is not a usable ONNX file.
    """
    known = report.get("onnx", {})
    if given is None:
        path = _usual_place(target, known)
        if path is None:
            return None
    else:
        path = given
    network = inspect(path)
    if given is not None and known.get("sha256") not in (None, network.graph.source.sha256):
        raise UsageError(f"{path} is not the file that {target} was converted from")
    if network.traced_size != size:
        if given is not None:
            height, width = network.traced_size
            raise UsageError(
                f"{path} was exported for {height}×{width}: leave --onnx out to compare a file "
                f"for {size[0]}×{size[1]} with the Keras model"
            )
        return None
    return Original(
        f"onnxruntime on {path.name}",
        _onnxruntime(path, network),
    )


def keras_original(model: keras.Model, interface: Interface) -> Original:
    """The Keras model itself, with a note that says so."""
    import keras

    def answer(images: Array) -> list[Array]:
        answers = keras.tree.flatten(model(images, training=False))
        return [keras.ops.convert_to_numpy(each) for each in answers]

    note = (
        f"compared with the Keras model: no ONNX file for {interface.size[0]}×"
        f"{interface.size[1]} was given or found (--onnx FILE)"
    )
    return Original("the Keras model", answer, (note,))


def _usual_place(target: Path, known: dict[str, Any]) -> Path | None:
    """Where `export` and `convert` leave files by default, if it is the same file still."""
    name = Path(known.get("file", "")).name
    folder = target if target.is_dir() else target.parent
    if not name:
        return None
    for place in (folder, folder.parent, Path("exported_onnx"), Path()):
        path = place / name
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == known["sha256"]:
            return path
    return None


def _onnxruntime(path: Path, network: Network) -> Callable[[Array], list[Array]]:
    from onnx2mvit.runtimes.reference import Reference
    from onnx2mvit.verifier.probe import to_keras, to_onnx

    reference = Reference(path)
    (image,) = network.graph.inputs
    places = network.layouts
    orders = {
        name: output_order(places[value].order)
        for name, value in zip(network.graph.output_names, network.graph.outputs, strict=True)
    }

    def answer(images: Array) -> list[Array]:
        answers = reference(to_onnx(images, places[image].order))
        return [to_keras(answers[name], order) for name, order in orders.items()]

    return answer
