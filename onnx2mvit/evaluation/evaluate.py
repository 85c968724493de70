"""Networks on photographs of known classes: accuracy, agreement, and where they differ."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx2mvit.base.arguments import check_arguments
from onnx2mvit.base.json_text import json_text
from onnx2mvit.base.output import MARK, write_file
from onnx2mvit.base.user_files import sha256_of
from onnx2mvit.errors import UsageError
from onnx2mvit.evaluation.dataset import Dataset, open_dataset
from onnx2mvit.evaluation.decode import check_wanted
from onnx2mvit.evaluation.engines import ENGINES, Job
from onnx2mvit.evaluation.journal import Journal
from onnx2mvit.evaluation.tally import TOP, Tally
from onnx2mvit.evaluation.targets import ONNX, Target
from onnx2mvit.reader.preprocessing import Given
from onnx2mvit.reports import render, render_evaluation
from onnx2mvit.reports.read_report import read_report
from onnx2mvit.runtimes.images import photograph
from onnx2mvit.version import __version__

Progress = Callable[[str, int, int], None]
JOURNAL = "evaluation.part"  # what is done so far; gone when all is
BATCH = 32
# Pictures in a report: of images that are answered differently, and wrongly by all.
PICTURES, OF_WRONG = 12, 6


@dataclass(frozen=True)
class Evaluation:
    """What came out of an evaluation.

    Attributes:
        report: as plain values for JSON.
        pages: the files that show it.
    """

    report: dict[str, Any]
    pages: tuple[Path, ...]

    @property
    def warnings(self) -> list[str]:
        """What a user should know although the evaluation succeeded."""
        found = []
        damaged = self.report["damaged"]
        if damaged["count"]:
            first = damaged["images"][0]
            found.append(
                f"{damaged['count']:,} images could not be read and are left out, the first of "
                f"them {first['image']}: {first['why']}"
            )
        if any(not each["preprocessing"]["origin"] for each in self.report["targets"]):
            found.append(
                "nothing says what these networks take: RGB in [0, 1] is an assumption "
                "(--preprocessing, --mean, --std, --bgr)"
            )
        return found


def evaluate(
    targets: str | Path | Sequence[str | Path],
    data: str | Path,
    *,
    labels: str | Path | None = None,
    limit: int | None = None,
    batch: int = BATCH,
    engine: str = "local",
    workers: int | None = None,
    preprocessing: Given = None,
    output: str | Path | None = None,
    trust_module: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Counts how many photographs classifiers get right, and where they do not answer the same.

    Args:
        targets: one or several forms of a network: its ONNX file, what `convert` wrote, LiteRT
            and OpenVINO files. The first ONNX file, or else the first of all, is what others are to
            agree with.
        data: a folder with a folder for each class, or with images and a CSV file that has an
            image and its class in each line.
        labels: that CSV file, if it lies elsewhere, or a text with the names of the network's
            classes, one a line, by which those of the folder are found.
        limit: so many images at most, evenly out of all.
        batch: so many at a time.
        engine: "local", or "ray" for Ray Data.
        workers: so many processes that read images, or, with Ray, that do all of it; by default
            as many as there are processors. 0 reads them in this one.
        preprocessing: as in `convert`; by default what each file, or the others, say.
        output: the folder for evaluation.json and evaluation.html; by default evaluated/NAME,
            unless a target is a folder that `convert` wrote: then its report gets a section.
        trust_module: as in `onnx2mvit.verify`.
        progress: called with a stage, how many images are done, and of how many.

    Returns:
        The figures. What was done before an interruption of the same evaluation is not done again.

    Raises:
        UsageError: the folder holds no images, or their classes do not fit the networks.
        UnsupportedError: a target is no classifier of images.
        InvalidModelError: a target is not usable.
        MissingDependencyError: pillow, Ray, LiteRT or a backend of Keras is not installed.
    """
    check_arguments(locals(), optional=("output", "limit", "workers"))
    say = progress or (lambda stage, done, total: None)
    if engine not in ENGINES:
        raise UsageError(f"engine {engine!r}: choose from {', '.join(ENGINES)}")
    several = [targets] if isinstance(targets, str | os.PathLike) else targets
    if not several:
        raise UsageError("there is nothing to evaluate: name an ONNX file, or what convert wrote")
    paths = tuple(Path(target) for target in several)
    converted = [path for path in paths if (path / MARK).is_file()] if output is None else []
    for path in converted:
        read_report(path / MARK)  # it is to get a section: said before the long work
    home = converted[0] if converted else Path(output or Path("evaluated") / paths[0].stem)
    say("load", 0, 1)
    job = Job(Path(data), paths, batch or BATCH, preprocessing, trust_module)
    opened = job.targets()
    check_wanted(target.wanted for target in opened)
    say("look for images", 0, 1)
    file = Path(labels) if labels is not None else None
    dataset = open_dataset(job.folder, opened[0].classes, file, limit)
    journal = Journal(home / JOURNAL, _key(dataset, opened, job.batch))
    try:
        _run(job, opened, dataset, journal, ENGINES[engine], workers, say)
    finally:
        journal.close()
    tally = Tally(len(opened), _reference(opened))
    for each in journal:
        tally.add(each)
    if not tally.images:
        first = tally.shown_damaged[0]
        journal.remove()
        raise UsageError(f"none of the images can be read; {first['image']}: {first['why']}")
    report = _report(dataset, opened, tally, {"batch": job.batch, "engine": engine})
    say("report", 0, 1)
    pages = tuple(_into_report(path, report) for path in converted) or (_page(home, report),)
    journal.remove()
    return Evaluation(report, pages)


def _run(
    job: Job,
    targets: Sequence[Target],
    dataset: Dataset,
    journal: Journal,
    engine: Any,
    workers: int | None,
    say: Progress,
) -> None:
    """Answers what the journal does not have yet."""
    done, before = journal.images, time.perf_counter()
    todo = (each for each in dataset.batches(job.batch) if each.start not in journal.done)
    stage = "evaluate"
    if done:
        say(f"go on after {done:,} images that were answered before", 0, 1)
    say(stage, done, dataset.taken)
    for record in engine(job, targets, todo, workers):
        now = time.perf_counter()
        journal.add(record.timed(now - before))
        before = now
        done += len(record.names) + len(record.damaged)
        say(stage, done, dataset.taken)


def _reference(targets: Sequence[Target]) -> int:
    """The network that the others are to agree with."""
    return next((at for at, each in enumerate(targets) if each.runtime == ONNX), 0)


def _key(dataset: Dataset, targets: Sequence[Target], batch: int) -> str:
    """What makes two evaluations the same, in one line."""
    files = [
        [target.name, repr(target.wanted), *(f"{path.name} {sha256_of(path)}" for path in found)]
        for target in targets
        for found in [_files(target.path)]
    ]
    counted = [dataset.fingerprint, dataset.total, dataset.taken, str(dataset.folder.resolve())]
    return json.dumps([__version__, batch, counted, files])


def _files(path: Path) -> list[Path]:
    """Those that make a network what it is."""
    if path.is_file():
        return [path]
    return sorted(each for each in path.iterdir() if each.suffix in (".py", ".safetensors"))


def _report(
    dataset: Dataset, targets: Sequence[Target], tally: Tally, how: dict[str, Any]
) -> dict[str, Any]:
    """All figures as plain values for JSON."""
    images, reference = tally.images, tally.reference
    few = targets[0].classes <= TOP
    rows = [
        {
            "name": target.name,
            "runtime": target.runtime,
            "weights": target.weights,
            "size": list(target.wanted.size),
            "preprocessing": target.wanted.how.as_dict() | {"size": list(target.wanted.size)},
            "top1": count.top1 / images,
            "top5": None if few else count.top5 / images,
            "agreement": None if number == reference else count.agreeing / images,
            "differ": None if number == reference else images - count.agreeing,
            "images_per_second": images / count.seconds if count.seconds else None,
        }
        for number, (target, count) in enumerate(zip(targets, tally.counts, strict=True))
    ]
    names = dataset.classes
    wrong = tally.shown_wrong[:OF_WRONG]
    pictured = [*tally.shown_differing[:PICTURES], *wrong]
    return {
        "onnx2mvit": __version__,
        "data": {
            "folder": dataset.folder.resolve().name,
            "images": dataset.total,
            "taken": dataset.taken,
            "classes": targets[0].classes,
        },
        **how,
        "images": images,
        "seconds": tally.wall,
        "images_per_second": images / tally.wall if tally.wall else None,
        "reference": targets[reference].name,
        "targets": rows,
        "damaged": {"count": tally.damaged, "images": tally.shown_damaged},
        "differing": {
            "count": tally.differing,
            "images": [_named(each, names) for each in tally.shown_differing],
        },
        "wrong": {
            "count": tally.wrong,
            "images": [_named(each, names) for each in tally.shown_wrong],
        },
        "pictures": [
            _named(each, names) | {"picture": photograph(dataset.folder / each["image"])}
            for each in pictured
        ],
    }


def _named(entry: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """An image with the names of its class and of the answers."""
    return {
        "image": entry["image"],
        "class": names[entry["class"]],
        "answers": [names[answer] for answer in entry["answers"]],
    }


def _into_report(folder: Path, evaluation: dict[str, Any]) -> Path:
    """Gives the report of a converted network a section."""
    report = read_report(folder / MARK) | {"evaluation": evaluation}
    source = (folder / f"{report['model']['name']}.py").read_text(encoding="utf-8")
    page = folder / "report.html"
    write_file(folder / MARK, json_text(report).encode())
    write_file(page, render(report, source).encode())
    return page


def _page(folder: Path, evaluation: dict[str, Any]) -> Path:
    """Writes figures and a page of their own."""
    page = folder / "evaluation.html"
    write_file(folder / "evaluation.json", json_text(evaluation).encode())
    write_file(page, render_evaluation(evaluation).encode())
    return page
