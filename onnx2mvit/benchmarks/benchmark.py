"""How fast a converted model is against onnxruntime on the file that it came from."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.benchmarks.machine import Others, load_average, memory, peak_memory, share_of_others
from onnx2mvit.benchmarks.timing import ROUNDS, TIMED, WARM_UP, Ratio, interleave
from onnx2mvit.errors import UsageError, VerificationError
from onnx2mvit.ir.layout import output_order
from onnx2mvit.ir.network import Network
from onnx2mvit.runtimes.images import structured_images
from onnx2mvit.runtimes.timed import (
    Runtime,
    import_litert,
    keras_of,
    litert_model,
    litert_of,
    onnxruntime_of,
    unfused_batch_norms,
)
from onnx2mvit.stages import inspect
from onnx2mvit.verifier.probe import keras_inputs, to_onnx
from onnx2mvit.verifier.proof import load_traced

if TYPE_CHECKING:
    import keras

FARTHEST = 1e-3  # of the largest value: who is farther off than rounding is not worth timing
MB = 1e6

Array = np.ndarray[Any, Any]
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
    `unfused_batch_norms` are those that onnxruntime runs one by one, which makes it slow.
    """

    threads: int
    rounds: int
    image_size: tuple[int, int]
    rows: list[Row]
    others_before: float
    load_average: float | None
    peak_memory_mb: float
    unfused_batch_norms: int

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
    progress: Progress = lambda message: None,
) -> Benchmark:
    """Times onnxruntime, Keras (tf.function) and LiteRT (float32) on the same structured images.

    `target` is what `convert` wrote. `threads` goes to each runtime, by default one for each
    processor; TensorFlow takes it only if it was not yet imported.

    Raises:
        InvalidModelError: one of the two files is not usable.
        VerificationError: a runtime does not answer what onnxruntime answers.
        MissingDependencyError: LiteRT, TensorFlow or psutil is not installed.
    """
    if not batches or min(batches) < 1:
        raise UsageError("A batch has at least one image")
    import_litert()  # said before the long work, not after it
    threads = threads or os.cpu_count() or 1
    path, target = Path(path), Path(target)
    before = share_of_others()
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(threads))
    progress("load")
    network = inspect(path)
    model = load_traced(target, network)
    rows: list[Row] = []
    for batch in batches:
        runtimes, errors, taken = _ready(path, network, model, batch, threads, progress)
        with Others() as others:
            timings = interleave(
                {runtime.name: runtime.call for runtime in runtimes},
                rounds=rounds,
                warm_up=warm_up,
                timed=timed,
                progress=_counted(progress, batch),
            )
        reference = timings[runtimes[0].name]
        rows += [
            Row(
                name,
                batch,
                1e3 * timing.seconds,
                timing.ratio(reference),
                error,
                used / MB,
                others.share,
            )
            for (name, timing), error, used in zip(timings.items(), errors, taken, strict=True)
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
    )


def _counted(progress: Progress, batch: int) -> Callable[[int, int], None]:
    return lambda done, total: progress(f"batch {batch}: {done} of {total} rounds")


def _ready(
    path: Path,
    network: Network,
    model: keras.Model,
    batch: int,
    threads: int,
    progress: Progress,
) -> tuple[list[Runtime], list[float], list[int]]:
    """The runtimes, how far each is from the first, and the bytes that each took."""
    channels, height, width = network.image_shape
    images = structured_images(batch, height, width, channels)
    pixels = np.ascontiguousarray(keras_inputs(network, images))
    progress(f"batch {batch}: converting to LiteRT")
    content = litert_model(model, batch)
    makers: list[Callable[[], Runtime]] = [
        lambda: onnxruntime_of(path, images, threads),
        lambda: keras_of(model, pixels),
        lambda: litert_of(content, pixels, threads),
    ]
    runtimes, errors, taken = [], [], []
    expected: list[Array] = []
    for make in makers:
        had = memory()
        runtime = make()
        answers = runtime.call()
        taken.append(max(0, memory() - had))
        expected = expected or answers
        error = 0.0 if answers is expected else _error(network, answers, expected)
        if not error <= FARTHEST:
            raise VerificationError(
                f"{runtime.name} differs from onnxruntime by {error:.1e} of the largest value: "
                "its speed says nothing"
            )
        runtimes.append(runtime)
        errors.append(error)
    return runtimes, errors, taken


def _error(network: Network, answers: list[Array], expected: list[Array]) -> float:
    """The largest difference of an output, as a share of its largest value; NaN if it is that."""
    places = network.layouts
    pairs = zip(network.graph.outputs, answers, expected, strict=True)
    errors = [
        np.abs(to_onnx(ours, output_order(places[value].order)) - theirs).max()
        / np.abs(theirs).max()
        for value, ours, theirs in pairs
    ]
    return float(np.max(errors))
