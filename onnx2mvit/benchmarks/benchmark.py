"""How fast a converted model is against onnxruntime on the file that it came from."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onnx2mvit.base.arguments import check_arguments
from onnx2mvit.base.optional import import_tensorflow, require
from onnx2mvit.base.output import temporary_folder
from onnx2mvit.benchmarks.contenders import contenders
from onnx2mvit.benchmarks.machine import Others, load_average, peak_memory, share_of_others
from onnx2mvit.errors import UsageError
from onnx2mvit.reports import how_read
from onnx2mvit.runtimes.onnxruntime_runner import unfused_batch_norms
from onnx2mvit.runtimes.timing import ROUNDS, TIMED, WARM_UP, Ratio, interleave
from onnx2mvit.verifier import inspect_for, load_traced

MB = 1e6

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """One runtime at one batch.

    `milliseconds` of one call on the whole batch, median of all; `ratio` to onnxruntime's;
    `max_rel_error` of its outputs against onnxruntime's; `memory_mb` that it took to load the
    network and run it once; `others` is the share of all processors that other processes took
    while this batch was timed.
    """

    runtime: str
    batch: int
    milliseconds: float
    ratio: Ratio
    max_rel_error: float
    memory_mb: float
    others: float


@dataclass(frozen=True)
class Benchmark:
    """All runtimes at all batches, and what the machine was doing.

    `others_before` is the share of all processors that other processes took before it began;
    `unfused_batch_norms` are those that onnxruntime runs one by one, which makes it slow; `notes`
    say which runtimes are left out, and why.
    """

    threads: int
    rounds: int
    image_size: tuple[int, int] | None
    rows: list[Row]
    others_before: float
    load_average: float | None
    peak_memory_mb: float
    unfused_batch_norms: int
    notes: list[str]

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self)


def benchmark(
    path: str | Path,
    target: str | Path,
    *,
    batches: Sequence[int] = (1, 8),
    threads: int | None = None,
    rounds: int = ROUNDS,
    warm_up: int = WARM_UP,
    timed: int = TIMED,
    trust_module: bool = False,
    progress: Progress = lambda message: None,
) -> Benchmark:
    """Times the runtimes on the same structured images, all in float32.

    These are onnxruntime on the file and on the ONNX that `deploy` writes, Keras (tf.function),
    LiteRT and, if it is installed, OpenVINO.

    Args:
        path: the ONNX file.
        target: what `convert` wrote of it, a folder or a .keras file.
        batches: so many images at a time.
        threads: of each runtime; by default one for each processor. TensorFlow takes it only if it
            was not yet imported.
        rounds: so often the runtimes take their turns; what is told is the median of the rounds.
        warm_up: calls of a round that are not timed.
        timed: calls of a round that are.
        trust_module: as in `onnx2mvit.verify`.
        progress: is told what is timed.

    Returns:
        A row for each runtime and batch, with milliseconds a call, and what the machine was doing.

    Raises:
        InvalidModelError: one of the two files is not usable.
        UsageError: an argument makes no sense, or the network takes no image.
        VerificationError: a runtime does not answer what onnxruntime answers.
        MissingDependencyError: LiteRT, TensorFlow or psutil is not installed.
    """
    check_arguments(locals())
    if not batches:
        raise UsageError("A batch has at least one image")
    # Said before the long work, not after it.
    require("ai_edge_litert", "psutil", "tensorflow", extra="benchmark")
    threads = threads or os.cpu_count() or 1
    path, target = Path(path), Path(target)
    before = share_of_others()
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(threads))
    import_tensorflow()
    progress("load")
    network = inspect_for(path, target, (), how_read(target, path), trust_module)
    model = load_traced(target, network, trust_module)
    rows: list[Row] = []
    notes: dict[str, None] = {}
    for batch in batches:
        with temporary_folder() as folder:
            ready, found = contenders(path, network, model, batch, threads, folder, progress)
            notes |= dict.fromkeys(found)
        with Others() as others:
            timings = interleave(
                {one.name: one for one in ready},
                rounds=rounds,
                warm_up=warm_up,
                timed=timed,
                progress=_counted(progress, batch),
            )
        reference = timings[ready[0].name]
        rows += [
            Row(
                runtime=one.name,
                batch=batch,
                milliseconds=1e3 * timings[one.name].seconds,
                ratio=timings[one.name].ratio(reference),
                max_rel_error=one.max_rel_error,
                memory_mb=one.memory / MB,
                others=others.share,
            )
            for one in ready
        ]
    return Benchmark(
        threads=threads,
        rounds=rounds,
        image_size=network.traced_size,
        rows=rows,
        others_before=before,
        load_average=load_average(),
        peak_memory_mb=peak_memory() / MB,
        unfused_batch_norms=unfused_batch_norms(path),
        notes=list(notes),
    )


def _counted(progress: Progress, batch: int) -> Callable[[int, int], None]:
    return lambda done, total: progress(f"batch {batch}: {done} of {total} rounds")
