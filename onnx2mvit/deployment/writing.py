"""What is to be deployed, and its file in each format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.base.output import temporary_folder
from onnx2mvit.deployment import int8, litert, onnx, openvino, saved_model
from onnx2mvit.deployment.candidates import FEW
from onnx2mvit.deployment.choice import Choice, Progress, Wanted
from onnx2mvit.deployment.head import extractors_of
from onnx2mvit.deployment.held_out import SEED, Apart
from onnx2mvit.deployment.interface import Interface
from onnx2mvit.deployment.keras_hub import write_keras_hub
from onnx2mvit.deployment.tflite_metadata import add_standard_metadata
from onnx2mvit.ir.network import Network
from onnx2mvit.runtimes import SERVE

if TYPE_CHECKING:
    import keras

Array = np.ndarray[Any, Any]
MOST_IMAGES = 256  # from a folder


@dataclass
class Job:
    """What is wanted, and what is known so far; `source` is the report of the conversion."""

    model: keras.Model
    format: str
    precision: str
    interface: Interface
    data_format: str
    source: dict[str, Any]
    labels: list[str]
    calibration: str | Path | None
    progress: Progress
    network: Network | None
    wanted: Wanted = field(default_factory=Wanted)  # of int8
    apart: Apart | None = None  # the images for a share of answers
    choice: Choice | None = None
    notes: list[str] = field(default_factory=list)
    signatures: dict[str, list[str]] = field(default_factory=dict)
    load: str | None = None  # how the file is loaded, where that matters

    @property
    def file_interface(self) -> Interface:
        """What the file takes and gives; the model has channels last."""
        first = self.data_format == "channels_first"
        return self.interface.channels_first if first else self.interface

    @property
    def weights(self) -> str | None:
        """Where the weights are from, as far as the ONNX file said."""
        found: str | None = self.source.get("onnx", {}).get("weights")
        return found

    def entries(self) -> dict[str, Any]:
        """The metadata that goes into the file."""
        entries: dict[str, Any] = {
            "model": self.model.name,
            "weights": self.weights or "unknown",
            "precision": self.precision,
            "inputs": {tensor.name: tensor.axes for tensor in self.file_interface.inputs},
            "outputs": {tensor.name: tensor.axes for tensor in self.file_interface.outputs},
            "compared_range": [0, 1],
            "preprocessing": self.interface.preprocessing.as_dict(),
        }
        return entries | ({"labels": self.labels} if self.labels else {})

    def images(
        self, folder: str | Path | None, count: int, seed: int = 0, most: int = MOST_IMAGES
    ) -> tuple[dict[str, Array], str]:
        """Inputs by name, images in [0, 1] or of bytes, and what they are."""
        return self.interface.some_inputs(folder, count, seed, most)


def write(job: Job, file: Path) -> None:
    """Writes the file; a SavedModel is a folder."""
    job.progress("convert", 0, 1)
    if job.format == "onnx":
        _write_onnx(job, file)
        return
    if job.format == "openvino":
        _write_openvino(job, file)
        return
    if job.format == "keras_hub":
        job.notes += write_keras_hub(job.model, file, job.interface)
        return
    job.signatures = {SERVE: [tensor.name for tensor in job.interface.outputs]}
    if job.format == "saved_model":
        extractors = extractors_of(job.model)
        saved_model.write_saved_model(job.model, file, job.interface, extractors)
        if not extractors:
            job.notes.append("no head was found, so there is no signature of features")
        job.signatures |= {name: [name] for name in extractors}
        return
    content = litert.litert_model(job.model, job.interface, job.precision)
    if job.precision == "int8":
        content = _to_int8(job, content)
    content = litert.add_metadata(content, job.interface, job.entries())
    content, notes = add_standard_metadata(content, job.interface, job.model.name, job.labels)
    job.notes += notes
    file.write_bytes(content)


def _write_onnx(job: Job, file: Path) -> None:
    job.notes += onnx.write_onnx(
        job.model, file, job.interface, job.file_interface, job.entries(), job.network
    )


def _write_openvino(job: Job, file: Path) -> None:
    interface, given = job.interface, job.file_interface
    with temporary_folder() as folder:
        _write_onnx(job, folder / "model.onnx")
        model = openvino.openvino_model(folder / "model.onnx", given)
        if job.precision == "int8":
            inputs, blocks = _calibration(job), _blocks(job)
            model, job.choice = openvino.quantize(
                model, blocks, interface, given, inputs, job.progress, job.wanted
            )
        openvino.save_openvino(model, file, job.entries(), job.precision)
    job.load = openvino.load_line(file.name, job.precision)


def _to_int8(job: Job, content: bytes) -> bytes:
    inputs, blocks = _calibration(job), _blocks(job)
    content, job.choice = int8.quantize(
        content, blocks, job.interface, inputs, job.progress, job.wanted
    )
    return content


def _calibration(job: Job) -> Mapping[str, Array]:
    """The inputs on which int8 is measured."""
    if job.apart is not None:
        return job.apart.tuned
    count = 2 * FEW if job.wanted.rounded else FEW  # losses are told by others than weights fit
    inputs, described = job.images(job.calibration, count, SEED, count)
    if job.calibration is None and job.wanted.float32 is None:
        job.notes.append(f"what stays in float32 was chosen on {described}, not on real images")
    return inputs


def _blocks(job: Job) -> list[str]:
    """The blocks whose losses are told apart; layers where the report does not name any."""
    named = [block["path"] for block in job.source.get("blocks", ())]
    return named or [layer.name for layer in job.model.layers]
