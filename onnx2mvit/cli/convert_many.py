"""`onnx2mvit convert A.onnx DIR/`: several files one after the other, and a table of them."""

from __future__ import annotations

import gc
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from onnx2mvit.ending import ended, say
from onnx2mvit.errors import Onnx2mvitError, UsageError, VerificationError
from onnx2mvit.target import is_network

if TYPE_CHECKING:
    from onnx2mvit.conversion import Conversion


@dataclass(frozen=True)
class Row:
    """What became of a target: the report of its conversion, or a code and why there is none."""

    target: str
    code: int
    seconds: float
    why: str = ""
    folder: Path | None = None
    report: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        folder = None if self.folder is None else str(self.folder)
        told = {"target": self.target, "code": self.code, "why": self.why or None}
        return {**told, "folder": folder, "report": self.report}


class SomeFailedError(Onnx2mvitError):
    """Of several conversions some failed; the code is the largest of theirs."""

    def __init__(self, rows: Sequence[Row]) -> None:
        super().__init__(f"{sum(row.code != 0 for row in rows)} of {len(rows)} were not converted")
        self.exit_code = max(row.code for row in rows)


def expanded(targets: Sequence[str]) -> list[str]:
    """All that is to be converted: of a folder, the ONNX files in it and in folders in it.

    Raises:
        UsageError: one of them is not there or holds nothing, or two would be written to one place.
    """
    from onnx2mvit.emitter import model_name

    found: dict[str, None] = {}  # each once, in order
    missing: list[str] = []
    for target in targets:
        if not target:  # to a path it is this folder
            raise UsageError("a target is an empty text")
        if is_network(target):
            found[target] = None
            continue
        if not Path(target).is_dir():
            found[target] = None
            if not Path(target).exists():
                missing.append(target)
            continue
        files = sorted(map(str, Path(target).rglob("*.onnx")))
        if not files:
            raise UsageError(f"there is no .onnx file in {target}")
        found |= dict.fromkeys(files)
    if len(found) > 1 and missing:
        raise UsageError(f"{', '.join(missing)}: not there; nothing was converted")
    places = defaultdict(list)
    for each in found:
        places[model_name(Path(each).stem)].append(each)
    for name, alike in places.items():
        if len(alike) > 1:
            raise UsageError(
                f"{' and '.join(alike)} would both become {name}: convert them by themselves, "
                "with --name"
            )
    return list(found)


def convert_each(
    targets: Sequence[str], run: Callable[[str], Conversion], quiet: bool
) -> Iterator[Row]:
    """Converts one after the other; what fails is said at once, and the next one begins."""
    for number, target in enumerate(targets, 1):
        if not quiet:
            say(f"{number} of {len(targets)}: {target}")
        start = time.perf_counter()
        try:
            row = _row(target, run(target), time.perf_counter() - start)
        except Exception as error:
            code, line = ended(error)
            row = Row(target, code, time.perf_counter() - start, line.removeprefix("error: "))
        if row.code:
            say(f"error: {row.why}", "31")
        yield row
        _forget()


def _row(target: str, result: Conversion, seconds: float) -> Row:
    differs = result.passed is False
    why = f"Keras and onnxruntime differ; see {result.folder}/report.html" if differs else ""
    code = VerificationError.exit_code if differs else 0
    return Row(target, code, seconds, why, result.folder, result.report)


def _forget() -> None:
    """Lets go of a model and its graph: commands look for no garbage by themselves."""
    if "keras" in sys.modules:
        sys.modules["keras"].utils.clear_session()
    gc.collect()


def show_table(console: Console, rows: Sequence[Row]) -> None:
    """A line for each."""
    table = Table()
    for title in (
        "file",
        "verdict",
        "relative error",
        "nodes in blocks",
        "seconds",
        "folder, or why not",
    ):
        table.add_column(
            title, justify="right" if title in ("relative error", "seconds") else "left"
        )
    for row in rows:
        report, proof = row.report or {}, (row.report or {}).get("verification")
        verdict = Text("not compared", "yellow") if proof is None else Text("passed", "green")
        coverage = report.get("coverage")
        table.add_row(
            row.target,
            Text(f"exit {row.code}", "red") if row.code else verdict,
            "" if proof is None else f"{proof['max_rel_error']:.1e}",
            "" if coverage is None else f"{coverage['in_blocks']} of {coverage['nodes']}",
            f"{row.seconds:.1f}",
            row.why or f"{row.folder}/",
        )
    console.print(table)
