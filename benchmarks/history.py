"""docs/benchmarks/*.json: what our own benchmarks gave, run by run, with the day and the machine.

    python -m benchmarks.history FILE.onnx TARGET    # times inference, and keeps it

`python -m tests.performance.training --keep` and `tests.performance.matching --keep` do so for a
training step and for reading and lifting. The machine is to be quiet: what others took of it is
kept as well.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.places import ROOT
from benchmarks.record import machine, short, versions
from onnx2mvit.base.json_text import json_text
from onnx2mvit.benchmarks import benchmark
from onnx2mvit.runtimes.timing import Ratio

FOLDER = ROOT / "docs" / "benchmarks"
HEAD = """\
# Benchmarks, run by run

Written by `make docs` from `docs/benchmarks/*.json`, to which `make history` adds a run. *To* is
the ratio to what stands first for the same, the median of the rounds and their range; *others* is
the share of the processors that other processes took. [How fast](speed.md) says what was done.
"""


@dataclass(frozen=True)
class Figure:
    """One number of a run.

    Attributes:
        what: was timed.
        value: in `unit`, a median.
        unit: s or ms, of one call or step.
        ratio: to the first figure for the same: median, least and greatest; None for that one.
    """

    what: str
    value: float
    unit: str
    ratio: tuple[float, float, float] | None = None


def figure(what: str, seconds: float, unit: str, ratio: Ratio | None) -> Figure:
    """A figure of what took so many seconds, in `unit`."""
    value = 1e3 * seconds if unit == "ms" else seconds
    to = None if ratio is None else (ratio.median, ratio.least, ratio.greatest)
    return Figure(what, value, unit, to)


def keep(name: str, of: str, figures: Iterable[Figure], others: float) -> Path:
    """Adds a run to a file.

    Args:
        name: of the benchmark and its file.
        of: the network, at which size.
        figures: of the run.
        others: the share of the processors that other processes took.

    Returns:
        The file.
    """
    path = FOLDER / f"{name}.json"
    run = {
        "date": datetime.now(UTC).date().isoformat(),
        "of": of,
        "machine": machine(),
        "versions": versions(),
        "others": others,
        "figures": [asdict(each) for each in figures],
    }
    path.write_text(json_text([*(runs(path) if path.exists() else ()), short(run)]), "utf-8")
    return path


def runs(path: Path) -> list[dict[str, Any]]:
    """The runs that a file has, the oldest first."""
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def page() -> str:
    """The page of all runs, the newest of each benchmark first."""
    return HEAD + "".join(
        "".join((f"\n## {path.stem}\n", *map(_table, reversed(runs(path)))))
        for path in sorted(FOLDER.glob("*.json"))
    )


def _table(run: dict[str, Any]) -> str:
    return "\n".join(_lines(run)) + "\n"


def _lines(run: dict[str, Any]) -> Iterator[str]:
    used = run["machine"]
    took = "" if run["others"] is None else f", others {run['others']:.0%}"
    yield f"\n### {run['date']}: {run['of']}\n"
    yield (
        f"{used['processor']}, {used['processors']} processors, {used['memory_gb']} GB{took}; "
        f"{', '.join(' '.join(each) for each in run['versions'].items())}.\n"
    )
    yield "| | time | to |"
    yield "|---|--:|---|"
    for each in run["figures"]:
        ratio = each["ratio"]
        to = f"{ratio[0]:.2f} ({ratio[1]:.2f}–{ratio[2]:.2f})" if ratio else ""
        yield f"| {each['what']} | {each['value']:.4g} {each['unit']} | {to} |"


def main() -> None:
    """Times inference."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("target")
    given = parser.parse_args()
    found = benchmark(given.file, given.target, progress=print)
    size = "×".join(map(str, found.image_size or ()))
    figures = [
        figure(
            f"{row.runtime}, batch {row.batch}",
            row.milliseconds / 1e3,
            "ms",
            None if row.runtime == "onnxruntime" else row.ratio,
        )
        for row in found.rows
    ]
    of = f"{Path(given.file).stem}, {size}, {found.threads} threads"
    print(keep("inference", of, figures, max(row.others for row in found.rows)))


if __name__ == "__main__":
    main()
