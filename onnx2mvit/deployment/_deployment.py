"""From a converted model to a file, and from the file's answers to its report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.base.optional import import_tensorflow, optional
from onnx2mvit.base.output import whole_folder
from onnx2mvit.builder.build import build, load
from onnx2mvit.deployment import _int8, _litert, _onnx, _saved_model
from onnx2mvit.deployment._comparison import Fidelity, compare
from onnx2mvit.deployment._interface import Interface, describe_model, feature_extractor
from onnx2mvit.deployment._original import Original, find_original, keras_original
from onnx2mvit.errors import UsageError
from onnx2mvit.runtimes.images import some_images
from onnx2mvit.runtimes.litert_runner import LiteRTRunner, import_litert
from onnx2mvit.runtimes.runner import InBatches, Outputs, Runner
from onnx2mvit.runtimes.saved_model_runner import SERVE, SavedModelRunner
from onnx2mvit.version import __version__

if TYPE_CHECKING:
    import keras

Array = np.ndarray[Any, Any]
Progress = Callable[[str, int, int], None]
MARK = "deploy.json"
FORMATS = {"litert": ".tflite", "saved_model": "", "onnx": ".onnx"}
PRECISIONS = ("float32", "float16", "int8")
# int8 can change answers, which one or two images would not show.
COMPARED = {"float32": 16, "float16": 32, "int8": 128}
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
    """What is wanted, and what is known so far."""

    model: keras.Model
    format: str
    precision: str
    interface: Interface
    source: dict[str, Any]
    labels: list[str]
    progress: Progress
    losses: list[_int8.Loss] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    signatures: dict[str, list[str]] = field(default_factory=dict)

    def entries(self) -> dict[str, Any]:
        """The metadata that goes into the file."""
        entries: dict[str, Any] = {
            "model": self.model.name,
            "weights": self.source.get("weights", "unknown"),
            "precision": self.precision,
            "layout": "NHWC",
            "compared_range": [0, 1],
        }
        return entries | ({"labels": self.labels} if self.labels else {})


def deploy(
    target: str | Path,
    output: str | Path = "deployed",
    *,
    format: str = "litert",  # noqa: A002 — its name on the command line and in Keras
    precision: str = "float32",
    image_size: tuple[int, int] | None = None,
    batch: int | None = None,
    calibration: str | Path | None = None,
    images: str | Path | None = None,
    inputs: int | None = None,
    labels: str | Path | None = None,
    onnx: str | Path | None = None,
    progress: Progress | None = None,
) -> Deployment:
    """Writes a converted model, a folder or a .keras file, as a file that runs without Keras.

    It goes to `output`/NAME_FORMAT_PRECISION/, with deploy.json beside it; an older one is
    replaced. `format` is litert, saved_model or onnx; float16 and int8 are for litert. LiteRT
    files take `batch` images, by default 1; the others any number, unless `batch` says another.
    All take float32 images (batch, height, width, channels).

    Inputs and outputs bear the names that they have in Keras.

    The file is run and compared with the ONNX file `onnx`, or, if that is None and none lies
    where the report of the conversion says, with the Keras model: on the images of the folder
    `images`, or else of `calibration`, or on `inputs` structured ones that are made here.
    int8 measures on `calibration`, or on structured images, which blocks stay in float32.

    Raises:
        UsageError: an option makes no sense, or a folder holds no images.
        InvalidModelError: the model or the ONNX file cannot be used.
        UnsupportedError: the format cannot hold this model.
        MissingDependencyError: a package is not installed.
    """
    _check(format, precision, batch, inputs)
    target, progress = Path(target), progress or (lambda stage, done, total: None)
    progress("load", 0, 1)
    model, source = _load(target, image_size)
    _packages(format, precision)
    size = _size(model, image_size, source)
    batch = batch or (1 if format == "litert" else None)
    original = find_original(target, Path(onnx) if onnx is not None else None, source, size)
    job = _Job(
        model=model,
        format=format,
        precision=precision,
        interface=describe_model(model, batch, size),
        source=source.get("onnx", {}),
        labels=_labels(labels, model),
        progress=progress,
    )
    original = original or keras_original(model, job.interface)
    job.notes += original.notes
    folder = Path(output) / f"{model.name}_{format}_{precision}"
    with whole_folder(folder, MARK) as work:
        compared, described = _images(
            job.interface, images or calibration, inputs or COMPARED[precision]
        )
        file = _write(job, work, calibration, source)
        comparison = _compare(job, file, original, compared, described)
        report = _report(job, file, comparison)
        text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
        (work / MARK).write_text(text, encoding="utf-8")
    return Deployment(folder, folder / file.name, report, comparison, tuple(job.losses))


def _check(format_: str, precision: str, batch: int | None, inputs: int | None) -> None:
    if format_ not in FORMATS:
        raise UsageError(f"format {format_!r}: choose from {', '.join(FORMATS)}")
    if precision not in PRECISIONS:
        raise UsageError(f"precision {precision!r}: choose from {', '.join(PRECISIONS)}")
    if format_ != "litert" and precision != "float32":
        raise UsageError(f"{precision} is for litert; {format_} is written in float32 alone")
    for name, number in (("batch", batch), ("inputs", inputs)):
        if number is not None and number < 1:
            raise UsageError(f"{name} {number}: from 1 on")


def _packages(format_: str, precision: str) -> None:
    """Finds out what is missing before anything long is done."""
    import_tensorflow()
    if format_ == "litert":
        import_litert("deploy")
    if precision == "int8":
        optional("ai_edge_quantizer.quantizer", extra="deploy")
    if format_ == "onnx":
        optional("tf2onnx", extra="deploy")


def _load(target: Path, size: tuple[int, int] | None) -> tuple[keras.Model, dict[str, Any]]:
    """The model, for images of that size, and the report that lies beside it."""
    model = load(target)
    shape = tuple(model.inputs[0].shape[1:])
    if size is not None and shape[:2] not in (size, (None, None)):
        if not target.is_dir():
            raise UsageError(
                f"{target} takes images of {shape[0]}×{shape[1]}: for another --image-size "
                "deploy the folder that it came in"
            )
        model = build(target, input_shape=(*size, *shape[2:]))
    report = (target if target.is_dir() else target.parent) / "report.json"
    if not report.is_file():
        return model, {}
    found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return model, found


def _size(
    model: keras.Model, wanted: tuple[int, int] | None, source: dict[str, Any]
) -> tuple[int, int]:
    if wanted is not None:
        return wanted
    height, width = model.inputs[0].shape[1:3]
    if height is None or width is None:
        traced = source.get("sizes", {}).get("traced")
        if traced is None:
            raise UsageError("this model takes images of any size: choose one with --image-size")
        height, width = traced
    return height, width


def _labels(path: str | Path | None, model: keras.Model) -> list[str]:
    """One a line, as many as the model has classes."""
    if path is None:
        return []
    try:
        found = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as a text of labels: {error}") from error
    classes = model.outputs[0].shape[-1]
    if len(found) != classes:
        raise UsageError(f"{path} holds {len(found)} labels, the model has {classes} classes")
    return found


def _images(
    interface: Interface, folder: str | Path | None, count: int, seed: int = 0
) -> tuple[Array, str]:
    """Images (N, height, width, channels) in [0, 1], and what they are."""
    channels = interface.shape[3]
    return some_images(folder, count, *interface.size, channels, seed, MOST_IMAGES)


def _write(job: _Job, work: Path, calibration: str | Path | None, source: dict[str, Any]) -> Path:
    """Writes the file into the folder."""
    file = work / f"{job.model.name}{FORMATS[job.format]}"
    job.progress("convert", 0, 1)
    if job.format == "onnx":
        _onnx.write_onnx(job.model, file, job.interface, job.entries())
        return file
    if job.format == "saved_model":
        extractor = feature_extractor(job.model)
        if extractor is None:
            job.notes.append("no head was found, so there is no signature of features")
        _saved_model.write_saved_model(job.model, file, job.interface, extractor)
        job.signatures = {SERVE: list(job.interface.outputs)}
        if extractor is not None:
            job.signatures[_saved_model.FEATURES] = [_saved_model.FEATURES]
        return file
    between = work / "saved_model"
    _saved_model.write_saved_model(job.model, between, job.interface)
    content = _litert.convert_saved_model(between, half=job.precision == "float16")
    shutil.rmtree(between)
    if job.precision == "int8":
        content = _to_int8(job, content, calibration, source)
    file.write_bytes(_litert.add_metadata(content, job.entries()))
    job.signatures = {SERVE: list(job.interface.outputs)}
    return file


def _to_int8(
    job: _Job, content: bytes, calibration: str | Path | None, source: dict[str, Any]
) -> bytes:
    measured, described = _images(job.interface, calibration, CALIBRATED, CALIBRATION_SEED)
    measured = measured[:CALIBRATED]
    if calibration is None:
        job.notes.append(f"what stays in float32 was chosen on {described}, not on real images")
    blocks = [block["path"] for block in source.get("blocks", ())]
    blocks = blocks or [layer.name for layer in job.model.layers]
    content, job.losses = _int8.quantize(content, blocks, measured, job.progress)
    return content


def _compare(job: _Job, file: Path, original: Original, images: Array, described: str) -> Fidelity:
    runner = _runner(job.format, file)
    step, names = job.interface.shape[0] or 1, job.interface.outputs
    file_in_batches = InBatches(runner, step)
    expected: list[Outputs] = []
    ours: list[Outputs] = []
    for start in range(0, len(images), step):
        job.progress("compare", start, len(images))
        part = images[start : start + step]
        expected.append(dict(zip(names, original.runner(part).values(), strict=True)))
        ours.append(file_in_batches(part))
    job.progress("compare", len(images), len(images))
    joined = [
        {name: np.concatenate([part[name] for part in parts]) for name in names}
        for parts in (ours, expected)
    ]
    return compare(joined[0], joined[1], original.name, described)


def _runner(format_: str, file: Path) -> Runner:
    if format_ == "litert":
        return LiteRTRunner(file.read_bytes())
    if format_ == "saved_model":
        return SavedModelRunner(file)
    from onnx2mvit.runtimes.onnxruntime_runner import OnnxRuntimeRunner

    return OnnxRuntimeRunner(file)


def _report(job: _Job, file: Path, comparison: Fidelity) -> dict[str, Any]:
    files = [file] if file.is_file() else [path for path in file.rglob("*") if path.is_file()]
    report: dict[str, Any] = {
        "verdict": "passed" if comparison.passes(job.precision) else "failed",
        "onnx2mvit": __version__,
        "model": job.model.name,
        "weights": job.source.get("weights"),
        "file": file.name,
        "format": job.format,
        "precision": job.precision,
        "bytes": sum(path.stat().st_size for path in files),
        "input": {"name": job.interface.input, "shape": list(job.interface.shape)},
        "outputs": list(job.interface.outputs),
        "signatures": job.signatures,
        "comparison": comparison.as_dict(),
        "notes": job.notes,
    }
    if job.format == "litert":
        report["operators"] = dict(_litert.operators(file.read_bytes()).most_common())
    if job.losses:
        report["blocks"] = [loss.as_dict() for loss in job.losses]
    return report
