"""From a converted model to a file, and from the file's answers to its report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.base.arguments import check_arguments
from onnx2mvit.base.json_text import json_text
from onnx2mvit.base.output import temporary_folder, whole_folder
from onnx2mvit.base.user_files import labels_in
from onnx2mvit.deployment import _int8, _litert, _onnx, _openvino, _saved_model
from onnx2mvit.deployment._comparison import Fidelity, fidelity
from onnx2mvit.deployment._float64 import judged
from onnx2mvit.deployment._head import extractors_of
from onnx2mvit.deployment._interface import Interface, describe_model, in_keras_layout
from onnx2mvit.deployment._keras_hub import keras_hub_runner, write_keras_hub
from onnx2mvit.deployment._original import Original, find_original, original_of
from onnx2mvit.deployment._request import (
    MARK,
    check,
    load_with_report,
    packages,
    place,
    size_of,
    target_from,
)
from onnx2mvit.deployment._tflite_metadata import add_standard_metadata
from onnx2mvit.ir.network import Network
from onnx2mvit.lifter.detection import Detections
from onnx2mvit.runtimes import (
    SERVE,
    LiteRTRunner,
    OnnxRuntimeRunner,
    OpenVINORunner,
    Runner,
    SavedModelRunner,
    check_folder,
)
from onnx2mvit.runtimes.runner import batch_size
from onnx2mvit.version import __version__

if TYPE_CHECKING:
    import keras

Array = np.ndarray[Any, Any]
Progress = Callable[[str, int, int], None]
# int8 can change answers, which one or two images would not show.
COMPARED = {"float32": 16, "float16": 32, "bfloat16": 32, "int8": 128}
CALIBRATED, CALIBRATION_SEED = 16, 1
MOST_IMAGES = 256  # from a folder


@dataclass(frozen=True)
class Deployment:
    """What `deploy` made: the file (a SavedModel is a folder), and its report."""

    folder: Path
    file: Path
    report: dict[str, Any]
    comparison: Fidelity
    losses: tuple[_int8.Loss, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether its answers are as near as its precision allows."""
        return bool(self.report["verdict"] == "passed")


@dataclass
class _Job:
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
    losses: list[_int8.Loss] = field(default_factory=list)
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


def deploy(
    target: str | Path,
    output: str | Path = "deployed",
    *,
    format: str = "litert",  # noqa: A002 — its name on the command line and in Keras
    precision: str = "float32",
    data_format: str = "channels_last",
    image_size: tuple[int, int] | None = None,
    batch: int | None = None,
    calibration: str | Path | None = None,
    images: str | Path | None = None,
    inputs: int | None = None,
    labels: str | Path | None = None,
    onnx: str | Path | None = None,
    trust_module: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Deployment:
    """Writes a converted model, a folder or a .keras file, as a file that runs without Keras.

    It goes to `output`/NAME_FORMAT_PRECISION/, NAME being that of the folder or the .keras file,
    with deploy.json beside it. One that was made of it before is replaced, and with `force` one
    that was made of another target of that name.

    `format` is litert, saved_model, onnx, openvino or keras_hub (a preset, for classifiers);
    float16 is for litert, bfloat16 for openvino, int8 for both. LiteRT files take
    `batch` images, by default 1; the others any number, unless `batch` says another. All take what
    the Keras model takes, images as (batch, height, width, channels), but a preset takes
    photographs, and ONNX and OpenVINO have (batch, channels, height, width) where `data_format` is
    channels_first.

    ONNX, and OpenVINO by way of it, is written from the lifted graph of the file that the model was
    converted from, with the weights of the model, if that file is at hand as below; else by
    tf2onnx, and a note says so.

    Inputs and outputs bear the names that they have in the ONNX file, in its order, or those of
    Keras where they are no names in Python.

    The file is run and compared with the ONNX file `onnx`, or, if that is None and none lies
    where the report of the conversion says, or the model was trained further, with the Keras
    model: on the images of the folder
    `images`, or else of `calibration`, or on `inputs` structured ones that are made here.
    int8 measures on `calibration`, or on structured images, which blocks stay in float32.
    `trust_module` is as in `onnx2mvit.verify`.

    Raises:
        UsageError: an option makes no sense, or a folder holds no images.
        InvalidModelError: the model or the ONNX file cannot be used.
        UnsupportedError: the format cannot hold this model.
        MissingDependencyError: a package is not installed.
    """
    check_arguments(locals(), optional=["inputs"])
    check(format, precision, data_format, image_size)
    check_folder(images)
    check_folder(calibration)
    target, progress = Path(target), progress or (lambda stage, done, total: None)
    folder, file_name = place(Path(output), target, format, precision, force)
    progress("load", 0, 1)
    model, source = load_with_report(target, image_size, trust_module)
    packages(format, precision)
    size = size_of(model, image_size, source)
    interface = describe_model(model, batch or (1 if format == "litert" else None), size, source)
    given = Path(onnx) if onnx is not None else None
    original = original_of(model, interface, find_original(target, given, source, size))
    names = []
    if labels is not None:
        names = labels_in(Path(labels), model.outputs[0].shape[-1], "the model")
    job = _Job(
        model=model,
        format=format,
        precision=precision,
        interface=interface,
        data_format=data_format,
        source=source,
        labels=names,
        calibration=calibration,
        progress=progress,
        network=original.network,
        notes=list(original.notes),
    )
    with whole_folder(folder, MARK) as work:
        compared = job.images(images or calibration, inputs or COMPARED[precision])
        file = work / file_name
        _write(job, file)
        comparison = _compare(job, file, original, *compared)
        report = _report(job, file, comparison) | {"target": target_from(folder, target)}
        (work / MARK).write_text(json_text(report), encoding="utf-8")
    return Deployment(folder, folder / file.name, report, comparison, tuple(job.losses))


def _write(job: _Job, file: Path) -> None:
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
        _saved_model.write_saved_model(job.model, file, job.interface, extractors)
        if not extractors:
            job.notes.append("no head was found, so there is no signature of features")
        job.signatures |= {name: [name] for name in extractors}
        return
    content = _litert.litert_model(job.model, job.interface, half=job.precision == "float16")
    if job.precision == "int8":
        content = _to_int8(job, content)
    content = _litert.add_metadata(content, job.interface, job.entries())
    content, notes = add_standard_metadata(content, job.interface, job.model.name, job.labels)
    job.notes += notes
    file.write_bytes(content)


def _write_onnx(job: _Job, file: Path) -> None:
    job.notes += _onnx.write_onnx(
        job.model, file, job.interface, job.file_interface, job.entries(), job.network
    )


def _write_openvino(job: _Job, file: Path) -> None:
    interface, given = job.interface, job.file_interface
    with temporary_folder() as folder:
        _write_onnx(job, folder / "model.onnx")
        model = _openvino.openvino_model(folder / "model.onnx", given)
        if job.precision == "int8":
            inputs, blocks = _calibration(job), _blocks(job)
            model, job.losses = _openvino.quantize(
                model, blocks, interface, given, inputs, job.progress
            )
        _openvino.save_openvino(model, file, job.entries(), job.precision)
    job.load = _openvino.load_line(file.name, job.precision)


def _to_int8(job: _Job, content: bytes) -> bytes:
    inputs, blocks = _calibration(job), _blocks(job)
    content, job.losses = _int8.quantize(content, blocks, job.interface, inputs, job.progress)
    return content


def _calibration(job: _Job) -> dict[str, Array]:
    """The inputs on which int8 is measured."""
    inputs, described = job.images(job.calibration, CALIBRATED, CALIBRATION_SEED, CALIBRATED)
    if job.calibration is None:
        job.notes.append(f"what stays in float32 was chosen on {described}, not on real images")
    return inputs


def _blocks(job: _Job) -> list[str]:
    """The blocks whose losses are told apart; layers where the report does not name any."""
    named = [block["path"] for block in job.source.get("blocks", ())]
    return named or [layer.name for layer in job.model.layers]


def _compare(
    job: _Job, file: Path, original: Original, inputs: dict[str, Array], described: str
) -> Fidelity:
    """The answers of the file against those of the original, on as many images as the file takes.

    What the original calls its outputs does not matter; their order does.
    """
    interface, names = job.interface, [each.name for each in job.interface.outputs]
    expected, ours = (
        interface.run(runner, inputs, partial(job.progress, f"answers of the {what}"))
        for what, runner in (
            ("original", interface.in_order(original.runner)),
            ("file", _runner(job, file)),
        )
    )
    told = list(zip(names, job.source.get("outputs", ()), strict=False))
    masks = [name for name, output in told if output.get("mask")]
    given = {output["name"]: name for name, output in told}
    boxes = _detections(job, given)
    found = fidelity(ours, expected, original.name, described, masks, boxes)
    found = replace(found, count=batch_size(inputs, interface.axes) or 1)
    if job.precision == "float32" and not found.passes(job.precision):
        verdict = judged(job.model, original, interface, inputs, ours, expected)
        found = replace(found, float64=verdict.as_dict())
    return found


def _detections(job: _Job, given: Mapping[str, str]) -> tuple[Detections, tuple[int, int]] | None:
    """Which outputs of the file are boxes and their scores, and the size of its images."""
    known, (image, *_) = job.source.get("detections"), job.interface.inputs
    if known is None or not image.is_image or not {known["boxes"], known["scores"]} <= given.keys():
        return None
    how = Detections.from_dict(known)
    height, width = (image.shape[image.axes.index(axis)] or 1 for axis in ("height", "width"))
    return replace(how, boxes=given[how.boxes], scores=given[how.scores]), (height, width)


def _runner(job: _Job, file: Path) -> Runner:
    """The file, on what the model takes."""
    if job.format == "keras_hub":
        return keras_hub_runner(file, job.interface)
    if job.format == "litert":
        return LiteRTRunner(file.read_bytes())
    if job.format == "saved_model":
        return SavedModelRunner(file)
    runner = OpenVINORunner(file) if job.format == "openvino" else OnnxRuntimeRunner(file)
    return in_keras_layout(runner, job.interface, job.file_interface)


def _report(job: _Job, file: Path, comparison: Fidelity) -> dict[str, Any]:
    files = [path for path in file.parent.rglob("*") if path.is_file()]
    report: dict[str, Any] = {
        "verdict": "passed" if comparison.passes(job.precision) else "failed",
        "onnx2mvit": __version__,
        "model": job.model.name,
        "weights": job.weights,
        "file": file.name,
        "format": job.format,
        "precision": job.precision,
        "bytes": sum(path.stat().st_size for path in files),
        "inputs": [tensor.as_dict() for tensor in job.file_interface.inputs],
        "outputs": [tensor.as_dict() for tensor in job.file_interface.outputs],
        "signatures": job.signatures,
        "comparison": comparison.as_dict(),
        "notes": job.notes,
    }
    if job.load is not None:
        report["load"] = job.load
    if job.format == "litert":
        report["operators"] = dict(_litert.operators(file.read_bytes()).most_common())
    if job.losses:
        report["blocks"] = [loss.as_dict() for loss in job.losses]
    return report
