"""From a converted model to a file, and from the file's answers to its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from onnx2mvit.base.arguments import check_arguments
from onnx2mvit.base.json_text import json_text
from onnx2mvit.base.output import whole_folder
from onnx2mvit.base.user_files import labels_in, seen_from
from onnx2mvit.deployment import litert
from onnx2mvit.deployment.candidates import Loss
from onnx2mvit.deployment.choice import Progress, Wanted
from onnx2mvit.deployment.comparison import Fidelity, fidelity
from onnx2mvit.deployment.float64 import judged
from onnx2mvit.deployment.held_out import apart, proven
from onnx2mvit.deployment.interface import describe_model, in_keras_layout
from onnx2mvit.deployment.keras_hub import keras_hub_runner
from onnx2mvit.deployment.original import Original, as_trained, find_original, original_of
from onnx2mvit.deployment.request import (
    MARK,
    check,
    check_agreement,
    check_aware,
    check_float32,
    load_with_report,
    packages,
    place,
    size_of,
)
from onnx2mvit.deployment.writing import Job, write
from onnx2mvit.lifter.detection import Detections
from onnx2mvit.runtimes import (
    LiteRTRunner,
    OnnxRuntimeRunner,
    OpenVINORunner,
    Runner,
    SavedModelRunner,
    check_folder,
)
from onnx2mvit.runtimes.runner import batch_size
from onnx2mvit.version import __version__

Array = np.ndarray[Any, Any]
# int8 can change answers, which one or two images would not show.
COMPARED = {"float32": 16, "float16": 32, "bfloat16": 32, "int8": 128}


@dataclass(frozen=True)
class Deployment:
    """What `deploy` made: the file (a SavedModel is a folder), and its report.

    Attributes:
        folder: the file and deploy.json lie here.
        file: what runs without Keras.
        report: what deploy.json holds.
        comparison: how far its answers are from the original's.
        losses: of int8, what each block loses by being int8 alone.
    """

    folder: Path
    file: Path
    report: dict[str, Any]
    comparison: Fidelity
    losses: tuple[Loss, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether its answers are as near as its precision allows."""
        return bool(self.report["verdict"] == "passed")


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
    agreement: float | None = None,
    holdout: str | Path | None = None,
    float32: Sequence[str] | None = None,
    aware: bool = False,
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
    with deploy.json beside it, in the place of one that was made of it before. Inputs and outputs
    bear the names that they have in the ONNX file, in its order, or those of Keras where they are
    no names in Python.

    The file is run and compared with the ONNX file, or with the Keras model if the model was
    trained further or no ONNX file is at hand. ONNX, and OpenVINO by way of it, is written from the
    lifted graph of that file with the weights of the model; where none is at hand, by tf2onnx, and
    a note says so.

    Args:
        target: the folder that `convert` wrote, or a .keras file.
        output: the folder in which that of the file is made.
        format: litert, saved_model, onnx, openvino or keras_hub (a preset, for classifiers).
        precision: float32; float16 for litert, bfloat16 for openvino, int8 for both. Inputs and
            outputs stay float32.
        data_format: of images in ONNX and OpenVINO: channels_last (batch, height, width, channels),
            or channels_first. The other formats take what the Keras model takes; a preset takes
            photographs.
        image_size: (height, width) in pixels; by default the model's own.
        batch: so many images at a time; by default 1 for litert, and any number for the others.
        calibration: a folder of images on which int8 measures which blocks stay in float32, and by
            which a LiteRT file's weights are rounded together; by default structured ones are made,
            and weights are rounded one by one.
        agreement: the share of first classes that int8 is to keep, above 0 and up to 1: each block
            is in float32, in int8 or, for LiteRT, in static int8, as is fastest for that on the
            images of `calibration`, or of `images`.
        holdout: a folder of other images, to prove that and to compare on; by default every second
            one of `calibration` is kept aside.
        float32: the blocks that int8 leaves in float32, by name, in place of those that it would
            choose. An empty list puts all in int8.
        aware: the model was trained under `quantization_aware`, `float32` (by default none) left
            out: the file is compared with what it answers so, not with the weights unrounded.
        images: a folder of images to compare on; by default `calibration`, or structured ones.
        inputs: how many structured ones.
        labels: a text file with a class a line, which goes into a LiteRT file.
        onnx: the ONNX file; by default where the report of the conversion says.
        trust_module: as in `onnx2mvit.verify`.
        force: replaces a file that was made of another target of that name too.
        progress: is told each stage.

    Returns:
        The file, and how far its answers are from the original's.

    Raises:
        UsageError: an option makes no sense, or a folder holds no images.
        InvalidModelError: the model or the ONNX file cannot be used.
        UnsupportedError: the format cannot hold this model.
        MissingDependencyError: a package is not installed.
    """
    check_arguments(locals(), optional=["inputs", "float32"])
    check(format, precision, data_format, image_size)
    check_agreement(agreement, precision, holdout, calibration, images)
    float32 = [] if aware and float32 is None else float32
    own_images = calibration is not None or agreement is not None
    check_float32(float32, precision, agreement)
    check_aware(aware, format)
    for images_in in (images, calibration, holdout):
        check_folder(images_in)
    target, progress = Path(target), progress or (lambda stage, done, total: None)
    folder, file_name = place(Path(output), target, format, precision, force)
    progress("load", 0, 1)
    model, source = load_with_report(target, image_size, trust_module)
    packages(format, precision)
    size = size_of(model, image_size, source)
    interface = describe_model(model, batch or (1 if format == "litert" else None), size, source)
    given = Path(onnx) if onnx is not None else None
    if aware:
        original = as_trained(model, float32 or ())
    else:
        original = original_of(model, interface, find_original(target, given, source, size))
    names = []
    if labels is not None:
        names = labels_in(Path(labels), model.outputs[0].shape[-1], "the model")
    job = Job(
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
        wanted=Wanted(agreement, float32, rounded=own_images and not aware),
        notes=list(original.notes),
    )
    with whole_folder(folder, MARK) as work:
        compared: tuple[Mapping[str, Array], str]
        if agreement is None:
            compared = job.images(images or calibration, inputs or COMPARED[precision])
        else:
            job.apart = apart(interface, calibration or images or "", holdout)
            compared = job.apart.held, job.apart.held_on
            held = batch_size(job.apart.held, interface.axes) or 1
            job.wanted = replace(job.wanted, proven_on=held)
        file = work / file_name
        write(job, file)
        comparison = _compare(job, file, original, *compared)
        report = _report(job, file, comparison) | {"target": seen_from(folder, target)}
        (work / MARK).write_text(json_text(report), encoding="utf-8")
    losses = job.choice.losses if job.choice is not None else ()
    return Deployment(folder, folder / file.name, report, comparison, tuple(losses))


def _compare(
    job: Job, file: Path, original: Original, inputs: Mapping[str, Array], described: str
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


def _detections(job: Job, given: Mapping[str, str]) -> tuple[Detections, tuple[int, int]] | None:
    """Which outputs of the file are boxes and their scores, and the size of its images."""
    known, (image, *_) = job.source.get("detections"), job.interface.inputs
    if known is None or not image.is_image or not {known["boxes"], known["scores"]} <= given.keys():
        return None
    how = Detections.from_dict(known)
    height, width = (image.shape[image.axes.index(axis)] or 1 for axis in ("height", "width"))
    return replace(how, boxes=given[how.boxes], scores=given[how.scores]), (height, width)


def _runner(job: Job, file: Path) -> Runner:
    """The file, on what the model takes."""
    if job.format == "keras_hub":
        return keras_hub_runner(file, job.interface)
    if job.format == "litert":
        return LiteRTRunner(file.read_bytes())
    if job.format == "saved_model":
        return SavedModelRunner(file)
    runner = OpenVINORunner(file) if job.format == "openvino" else OnnxRuntimeRunner(file)
    return in_keras_layout(runner, job.interface, job.file_interface)


def _report(job: Job, file: Path, comparison: Fidelity) -> dict[str, Any]:
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
        report["operators"] = dict(litert.operators(file.read_bytes()).most_common())
    if job.choice is not None:
        report["blocks"] = [loss.as_dict() for loss in job.choice.losses]
        if job.choice.search is not None and job.apart is not None:
            report["agreement"] = proven(job.choice.search, job.apart.tuned_on, comparison)
            report["verdict"] = report["agreement"]["verdict"]
    return report
