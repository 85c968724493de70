"""`onnx2mvit benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from onnx2mvit.base.json_text import json_text
from onnx2mvit.base.numbers import written_whole
from onnx2mvit.base.output import write_file
from onnx2mvit.cli.console import live_progress, results, warn
from onnx2mvit.cli.options import Debug, Quiet, TrustModule
from onnx2mvit.errors import UsageError

if TYPE_CHECKING:
    from onnx2mvit.benchmarks import Benchmark


def benchmark(
    file: Annotated[Path, typer.Argument(help="The ONNX file.")],
    target: Annotated[
        Path, typer.Argument(help="What `convert` wrote: a folder or a .keras file.")
    ],
    batch: Annotated[str, typer.Option(help="Images at a time, with commas between.")] = "1,8",
    threads: Annotated[
        int | None,
        typer.Option(help="For each runtime; by default one for each processor.", min=1),
    ] = None,
    rounds: Annotated[
        int, typer.Option(help="How often each has its turn, of 3 calls and 15 timed ones.", min=1)
    ] = 8,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures to this file as well.")
    ] = None,
    trust_module: TrustModule = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Time onnxruntime, Keras (tf.function), LiteRT and OpenVINO on the same images, in turns.

    \b
    Examples:
      onnx2mvit benchmark exported_onnx/mobilevit_xs.onnx keras_out/mobilevit_xs
    """
    from onnx2mvit.benchmarks import BUSY
    from onnx2mvit.benchmarks import benchmark as run

    batches = batches_of(batch)
    with live_progress(quiet=quiet) as progress:
        result = run(
            file,
            target,
            batches=batches,
            threads=threads,
            rounds=rounds,
            trust_module=trust_module,
            progress=progress,
        )
    busy = max([result.others_before, *(row.others for row in result.rows)])
    if busy > BUSY:
        warn(
            f"other processes took {busy:.0%} of the processors: these figures are not those of "
            "a quiet machine, where onnxruntime gains most"
        )
    if result.unfused_batch_norms:
        warn(
            f"onnxruntime cannot fold {result.unfused_batch_norms} BatchNormalization of this file "
            "and is slow on it: compare with a file exported with them folded (--fold-bn), too"
        )
    for note in result.notes:
        warn(note)
    if json_file is not None:
        write_file(json_file, json_text(result.as_dict()).encode())
    with results(quiet) as shown:
        show(shown, result)


def show(console: Console, result: Benchmark) -> None:
    """The figures as a table, and what they were measured on."""
    size = "×".join(map(str, result.image_size or ("no image",)))
    table = Table(title=f"{size}, {result.threads} threads, {result.rounds} rounds")
    table.add_column("batch", justify="right")
    table.add_column("runtime")
    for title in ("ms", "to onnxruntime", "of a round", "relative error", "memory MB", "others"):
        table.add_column(title, justify="right")
    before = None
    for row in result.rows:
        ratio = row.ratio
        first = row.batch != before
        if first and before is not None:
            table.add_section()
        before = row.batch
        table.add_row(
            str(row.batch) if first else "",
            row.runtime,
            f"{row.milliseconds:.1f}",
            "" if first else f"{ratio.median:.2f}",
            "" if first else f"{ratio.least:.2f}–{ratio.greatest:.2f}",
            "" if first else f"{row.max_rel_error:.0e}",
            f"{row.memory_mb:.0f}",
            f"{row.others:.0%}" if first else "",
        )
    console.print(table)
    load = "" if result.load_average is None else f", load average {result.load_average:.1f}"
    console.print(
        f"other processes took {result.others_before:.0%} of the processors before{load}; "
        f"this one took {result.peak_memory_mb:.0f} MB of memory at most",
        soft_wrap=True,
    )


def batches_of(text: str) -> list[int]:
    """The numbers of images in `1,8`.

    Raises:
        UsageError: it is another text.
    """
    batches = [written_whole(part) for part in text.split(",")]
    if not all(batches):
        raise UsageError(f"--batch {text!r}: give numbers of images, as in 1,8")
    return [batch for batch in batches if batch]
