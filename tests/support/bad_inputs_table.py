"""Writes docs/bad_input.md from the bad inputs: python -m tests.support.bad_inputs_table."""

from __future__ import annotations

import contextlib
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.support.bad_inputs import Bad, corpus
from tests.support.command_line import exit_code

TARGET = Path(__file__).parent.parent.parent / "docs" / "bad_input.md"
INTRODUCTION = """\
# Bad input

Written by `python -m tests.support.bad_inputs_table` from the corpus beside it, and held against
it by `tests/cli/test_bad_inputs.py`. Each input is made in a folder of its own, shown as `…`, and
given to `onnx2mvit convert`, which ends with the exit code and this one line on stderr. No folder
or file is made, and the output of an earlier conversion stays as it is.

What has no file (a full disk, no permission, a process that is killed, two conversions at once) is
in `tests/cli/test_bad_surroundings.py`.

| input | exit code | message |
|---|--:|---|
"""


@dataclass(frozen=True)
class Ending:
    """How a command ended: its exit code, and the lines on stderr that are not progress."""

    code: int
    said: tuple[str, ...]


def run(*arguments: str) -> Ending:
    """Runs the command line in this process."""
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        code = exit_code(*arguments)
    lines = (line.rstrip() for line in err.getvalue().splitlines())
    return Ending(
        code, tuple(line for line in lines if not line.endswith((" read", " rewrite", " emit")))
    )


def row(bad: Bad) -> str:
    """The line in the table for an input."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ending = run("convert", str(bad.make(folder)), "-o", str(folder / "out"))
    return line(bad, ending, folder)


def line(bad: Bad, ending: Ending, folder: Path) -> str:
    """The same where it was run already, in this folder."""
    said = " ".join(ending.said).removeprefix("error: ").replace(str(folder), "…")
    return f"| {bad.what} | {ending.code} | {said.replace('|', chr(92) + '|')} |"


if __name__ == "__main__":
    rows = [row(bad) for bad in corpus()]
    TARGET.write_text(INTRODUCTION + "\n".join(rows) + "\n", encoding="utf-8")
