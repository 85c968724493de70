"""What is evaluated: the forms of a network, each with what it takes of a photograph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from onnx2mvit.base.backend import import_keras
from onnx2mvit.base.user_files import reading
from onnx2mvit.builder import image_input, load
from onnx2mvit.deployment import litert_metadata, openvino_metadata
from onnx2mvit.errors import UnsupportedError, UsageError
from onnx2mvit.evaluation.decode import Wanted
from onnx2mvit.ir.preprocessing import Preprocessing, from_dict
from onnx2mvit.reader.preprocessing import Given, given_preprocessing
from onnx2mvit.reports import report_beside
from onnx2mvit.runtimes import (
    InBatches,
    Inputs,
    KerasLayout,
    KerasRunner,
    LiteRTRunner,
    OnnxRuntimeRunner,
    OpenVINORunner,
    Outputs,
    Runner,
)
from onnx2mvit.stages import inspect

Array = np.ndarray[Any, Any]
Shape = Sequence[int | None]


@dataclass(frozen=True)
class Target:
    """A network that is ready to answer.

    Attributes:
        name: the end of its path, as long as need be to tell it from others.
        path: the file, or the folder.
        runtime: what runs it.
        wanted: what it takes.
        classes: how many it tells apart.
        weights: where they come from, as far as that is known.
        scores: of each class, (images, classes), for images (images, height, width, channels).
    """

    name: str
    path: Path
    runtime: str
    wanted: Wanted
    classes: int
    weights: str | None
    scores: Callable[[Array], Array]


def open_targets(
    paths: Sequence[Path],
    batch: int,
    *,
    given: Given = None,
    trust_module: bool = False,
    threads: int = 0,
) -> list[Target]:
    """Opens the forms of a network, which are to have the same classes.

    Args:
        paths: ONNX files, LiteRT and OpenVINO files, folders that `convert` wrote, .keras files.
        batch: so many images will come at a time.
        given: what photographs must become, if that is not what the files say.
        trust_module: as in `builder.load`.
        threads: of onnxruntime, LiteRT and OpenVINO; 0 leaves that to them.

    Returns:
        Those in the same order. Whoever does not know what photographs must become takes what the
        first one says that does. A file that leaves the size of its images open has that of the
        others, or that in its preprocessing.

    Raises:
        UsageError: they do not have the same classes, or one is given twice.
        UnsupportedError: one is no classifier of images.
        InvalidModelError: one is not usable.
    """
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("the same file or folder is given twice")
    named = dict(zip(paths, shortest_names(paths), strict=True))
    opened: dict[Path, Target] = {}
    # Last those that may leave the size of images open: theirs is that of the others.
    for path, name in sorted(named.items(), key=lambda each: each[0].suffix == ".onnx"):
        if path.suffix == ".onnx":
            size = next((target.wanted.size for target in opened.values()), None)
            opened[path] = _onnx(name, path, batch, given, threads, size)
        elif path.suffix in (".tflite", ".litert"):
            opened[path] = _litert(name, path, given, threads)
        elif path.suffix == ".xml":
            opened[path] = _openvino(name, path, given, threads)
        else:
            opened[path] = _keras(name, path, batch, given, trust_module)
    found = [opened[path] for path in paths]
    for target in found[1:]:
        if target.classes != found[0].classes:
            raise UsageError(
                f"{found[0].name} has {found[0].classes:,} classes, {target.name} "
                f"{target.classes:,}: they are not the same network"
            )
    return _agreed(found, given)


def _agreed(targets: Sequence[Target], given: Given) -> list[Target]:
    """An ONNX file knows best what it does itself to pixels; others that know nothing follow."""
    onnx = [target for target in targets if target.runtime == ONNX and given is not None]
    known = [target for target in targets if not target.wanted.how.is_assumed]
    how = next((target.wanted.how for target in (*onnx, *known)), None)
    return [
        replace(target, wanted=replace(target.wanted, how=replace(how, size=None)))
        if how is not None and (onnx or target.wanted.how.is_assumed)
        else target
        for target in targets
    ]


ONNX, KERAS, LITERT, OPENVINO = "onnxruntime", "Keras", "LiteRT", "OpenVINO"


def _onnx(
    name: str,
    path: Path,
    batch: int,
    given: Given,
    threads: int,
    size: tuple[int, int] | None,
) -> Target:
    """`size` is for a file that leaves it open; None is what is known of its preprocessing."""
    network = inspect(path, size=size, preprocessing=given)
    known = network.graph.source.preprocessing.size
    if size is None and known is not None and network.graph.source.dynamic_size:
        network = inspect(path, size=known, preprocessing=given)
    image = network.image
    if image is None or len(network.graph.inputs) != 1:
        raise UnsupportedError(f"{name} is no classifier: it does not take one image alone")
    outputs = dict(zip(network.graph.output_names, network.graph.outputs, strict=True))
    shapes = {
        key: [*map((value.shape or ()).__getitem__, network.order(value))]
        for key, value in outputs.items()
    }
    output = _of_classes(name, shapes, network.graph.batch_size)
    height, width, channels = network.shape_of_image(image)
    session = OnnxRuntimeRunner(path, arena=True, threads=threads)
    scores = _scores(KerasLayout(session, network), output, network.file_batch)
    wanted = _wanted((height, width), channels, str(image.dtype), network.preprocessing)
    classes = shapes[output][-1]
    weights = network.graph.source.weights
    return Target(name, path, ONNX, wanted, classes or 0, weights, scores)


def _keras(name: str, path: Path, batch: int, given: Given, trust_module: bool) -> Target:
    report = report_beside(path)
    model = load(path, trust_module)
    image = image_input(model)
    if image is None or len(model.inputs) != 1:
        raise UnsupportedError(f"{name} is no classifier: it does not take one image alone")
    shapes = {key: each.shape for key, each in zip(model.output_names, model.outputs, strict=True)}
    fixed, height, width, channels = image.shape
    output = _of_classes(name, shapes, fixed)
    if height is None or width is None:
        traced = report["sizes"]["traced"] if report else None
        if traced is None:
            raise UsageError(f"{name} takes images of any size, and nothing says which are meant")
        height, width = traced
    known = from_dict(report.get("preprocessing") or {})
    wanted = _wanted((height, width), channels, str(image.dtype), given_preprocessing(given, known))
    # A graph is made for each number of images: the last ones are filled up.
    compiled = import_keras().backend.backend() == "tensorflow"
    scores = _scores(KerasRunner(model, compiled=compiled), output, fixed or batch)
    weights = report.get("onnx", {}).get("weights")
    return Target(name, path, KERAS, wanted, shapes[output][-1], weights, scores)


def _litert(name: str, path: Path, given: Given, threads: int) -> Target:
    with reading(path, "a LiteRT file with one signature"):
        content = path.read_bytes()
        runner = LiteRTRunner(content, threads) if threads else LiteRTRunner(content)
        known = litert_metadata(content)
    ((_, image),) = [*runner.takes.items()][:1]
    shape, dtype = [*map(int, image["shape"])], np.dtype(image["dtype"])
    if len(runner.takes) != 1 or len(shape) != 4 or dtype not in (np.float32, np.uint8):
        takes = ", ".join(
            f"{each['shape']} {np.dtype(each['dtype'])}" for each in runner.takes.values()
        )
        raise UnsupportedError(
            f"{name} is no classifier of one image of float32 or uint8: it takes {takes}"
        )
    shapes = {key: [*map(int, each["shape"])] for key, each in runner.gives.items()}
    output = _of_classes(name, shapes, runner.batch)
    how = given_preprocessing(given, from_dict(known.get("preprocessing") or {}))
    wanted = _wanted((shape[1], shape[2]), shape[3], str(dtype), how)
    scores = _scores(runner, output, runner.batch)
    weights = known.get("weights")
    return Target(name, path, LITERT, wanted, shapes[output][-1], weights, scores)


def _openvino(name: str, path: Path, given: Given, threads: int) -> Target:
    runner, known = OpenVINORunner(path, threads), openvino_metadata(path)
    (shape, dtype), *others = runner.takes.values()
    if others or len(shape) != 4 or dtype not in (np.float32, np.uint8):
        takes = ", ".join(f"{shape} {dtype}" for shape, dtype in runner.takes.values())
        raise UnsupportedError(
            f"{name} is no classifier of one image of float32 or uint8: it takes {takes}"
        )
    first = shape[3] not in (1, 3) and shape[1] in (1, 3)  # `deploy --data-format channels_first`
    channels, height, width = shape[1:] if first else (shape[3], *shape[1:3])
    if height is None or width is None:
        raise UsageError(f"{name} takes images of any size, and nothing says which are meant")
    output = _of_classes(name, {key: each for key, (each, _) in runner.gives.items()}, runner.batch)

    def run(inputs: Inputs) -> Outputs:
        return runner(np.moveaxis(np.asarray(inputs), -1, 1) if first else inputs)

    how = given_preprocessing(given, from_dict(known.get("preprocessing") or {}))
    wanted = _wanted((height, width), channels or 0, str(dtype), how)
    classes = runner.gives[output][0][-1]
    scores = _scores(run, output, runner.batch)
    return Target(name, path, OPENVINO, wanted, classes or 0, known.get("weights"), scores)


def _wanted(size: tuple[int, int], channels: int, dtype: str, how: Preprocessing) -> Wanted:
    if channels not in (1, 3):
        raise UnsupportedError(f"an image of {channels} channels is no photograph")
    return Wanted(size, channels, dtype, replace(how, size=None))


def _of_classes(name: str, shapes: Mapping[str, Shape], batch: int | None) -> str:
    """The first output that has, for a batch of images, a number for each of several classes."""
    for output, shape in shapes.items():
        if len(shape) == 2 and shape[0] == batch and (shape[1] or 0) > 1:
            return output
    gives = "; ".join(str([each or "batch" for each in shape]) for shape in shapes.values())
    raise UnsupportedError(f"{name} is no classifier: it gives {gives}, not a score of each class")


def _scores(runner: Runner, output: str, batch: int | None) -> Callable[[Array], Array]:
    """What a runner gives in one output, which has the batch first, for any number of images."""
    alone = InBatches(lambda pixels: {output: runner(pixels)[output]}, batch)
    return lambda pixels: alone(pixels)[output]


def shortest_names(paths: Sequence[Path]) -> list[str]:
    """The ends of paths, as long as they must be to be different."""
    parts = [path.resolve().parts for path in paths]
    lengths = [1] * len(parts)
    while True:
        names = ["/".join(each[-length:]) for each, length in zip(parts, lengths, strict=True)]
        twice = [at for at, name in enumerate(names) if names.count(name) > 1]
        if not twice or all(lengths[at] >= len(parts[at]) for at in twice):
            return names
        for at in twice:
            lengths[at] += 1
