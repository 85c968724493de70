"""Who answers the batches of an evaluation: this machine, or a cluster of Ray's.

Both do the same to each batch, on its own, so that it does not matter which of them did it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnx2mvit.base.optional import optional
from onnx2mvit.evaluation.dataset import Batch
from onnx2mvit.evaluation.decode import Decoded, decode, decoded
from onnx2mvit.evaluation.tally import Record, record
from onnx2mvit.evaluation.targets import Target, open_targets
from onnx2mvit.reader.preprocessing import Given

MOST_WORKERS = 8


@dataclass(frozen=True)
class Job:
    """What is evaluated, so that another process can do a part of it.

    Attributes:
        folder: of the images.
        paths: of the networks.
        batch: so many images at a time.
        given, trust_module: as `targets.open_targets` takes them.
    """

    folder: Path
    paths: tuple[Path, ...]
    batch: int
    given: Given
    trust_module: bool

    def targets(self, threads: int = 0) -> list[Target]:
        """The networks, which have answered once: what a first call takes longer is not timed."""
        found = open_targets(
            self.paths,
            self.batch,
            given=self.given,
            trust_module=self.trust_module,
            threads=threads,
        )
        for target in found:
            wanted = target.wanted
            images = np.zeros((self.batch, *wanted.size, wanted.channels), wanted.dtype)
            target.scores(images)
        return found


Engine = Callable[[Job, Sequence[Target], Iterable[Batch], int | None], Iterator[Record]]


def answered(targets: Sequence[Target], images: Decoded) -> Record:
    """What the networks answer to a batch."""
    scores, seconds = [], []
    for number, target in enumerate(targets):
        start = time.perf_counter()
        if images.pixels is not None:
            scores.append(target.scores(images.pixels[number]))
        seconds.append(time.perf_counter() - start)
    return record(images.batch, images.kept, images.damaged, scores, seconds)


def here(
    job: Job, targets: Sequence[Target], batches: Iterable[Batch], workers: int | None
) -> Iterator[Record]:
    """Answers on this machine, images being decoded by `workers` processes meanwhile."""
    workers = min(processors(), MOST_WORKERS) if workers is None else workers
    wanted = [target.wanted for target in targets]
    for images in decoded(job.folder, batches, wanted, workers):
        yield answered(targets, images)


def processors() -> int:
    """How many this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # Linux alone tells
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1


class Worker:
    """Answers batches in a process of Ray's, which opens the networks itself."""

    def __init__(self, job: Job) -> None:
        self.job, self.targets = job, job.targets(threads=1)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """A batch, as its number, names and classes; a record."""
        batch = Batch(int(row["start"]), tuple(row["names"]), tuple(map(int, row["classes"])))
        wanted = [target.wanted for target in self.targets]
        made = answered(self.targets, decode(self.job.folder, batch, wanted))
        return {"record": made.as_json()}


def on_ray(
    job: Job, targets: Sequence[Target], batches: Iterable[Batch], workers: int | None
) -> Iterator[Record]:
    """Answers on Ray Data, by `workers` processes of one processor each.

    They read the images and the networks themselves: both must lie where they find them. Ray is
    begun on this machine, unless RAY_ADDRESS names a cluster or the caller has begun it.

    Raises:
        MissingDependencyError: Ray is not installed.
    """
    ray = optional("ray")
    data = optional("ray.data")
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False, configure_logging=False)
    rows = [
        {"start": each.start, "names": list(each.names), "classes": list(each.classes)}
        for each in batches
    ]
    if not rows:
        return
    data.DataContext.get_current().enable_progress_bars = False
    made = data.from_items(rows, override_num_blocks=len(rows)).map(
        Worker,
        fn_constructor_args=(job,),
        compute=data.ActorPoolStrategy(
            size=workers or max(1, int(ray.cluster_resources()["CPU"]) - 1)
        ),
        num_cpus=1,
    )
    for row in made.iter_rows():
        yield Record.from_json(row["record"])


ENGINES: dict[str, Engine] = {"local": here, "ray": on_ray}
