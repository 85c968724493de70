"""What all commands share: where results, progress and warnings go."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.table import Table
from rich.text import Text

Say = Callable[[str], None]

# A pipe has no width of its own: lines are left whole there.
out = Console(width=None if sys.stdout.isatty() else 240)
err = Console(stderr=True)


@contextmanager
def live_progress(live: bool = True, quiet: bool = False) -> Iterator[Say]:
    """A line for each stage: on a terminal with its time, which runs while the stage does.

    A message is the name of a stage, and how far it is in brackets. What is called in it may
    freeze the terminal unless `live` is False. Nothing is said if it is `quiet`.
    """
    if quiet:
        yield lambda message: None
    elif err.is_terminal and live:
        with Progress(*COLUMNS, console=err) as lines:
            said = _Lines(lines)
            yield said
            said.finish()
    else:
        start = time.perf_counter()
        yield lambda message: err.print(
            f"{time.perf_counter() - start:5.1f} s  {message}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


class _Lines:
    """The stages so far as lines of a terminal, the last of which is running."""

    def __init__(self, lines: Progress) -> None:
        self.lines = lines
        self.stage = ""

    def __call__(self, message: str) -> None:
        stage = message.partition(" (")[0]
        if stage == self.stage:
            self.lines.update(self.lines.task_ids[-1], description=message)
            return
        self.finish()
        self.stage = stage
        self.lines.add_task(message, total=1)

    def finish(self) -> None:
        """The stage that was running is done."""
        for task in self.lines.tasks:
            if not task.finished:
                self.lines.update(task.id, completed=1, description=self.stage)


class _Seconds(ProgressColumn):
    """How long a stage has been running, or took."""

    def render(self, task: Task) -> Text:
        seconds = task.finished_time if task.finished else task.elapsed
        return Text(f"{seconds or 0:6.1f} s", style="dim")


COLUMNS = (
    SpinnerColumn(finished_text="[green]✓"),
    _Seconds(),
    TextColumn("{task.description}", markup=False),
)


def show_rows(console: Console, rows: Iterable[tuple[str, Text]]) -> None:
    """Names and what they stand for; on a terminal the latter keep their column."""
    if not console.is_terminal:
        for name, text in rows:
            console.print(Text(f"{name:9}") + text, soft_wrap=True)
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", min_width=7, no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(name, text)
    console.print(table)


@contextmanager
def results(quiet: bool = False) -> Iterator[Console]:
    """The console for what goes to stdout, which shows nothing if it is `quiet`.

    A reader that goes away, as `head` does, is no failure.
    """
    try:
        yield Console(quiet=True) if quiet else out
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_json(value: object) -> None:
    """What `--json` shows, to be read by programs; there is no quiet about it."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def warn(message: str) -> None:
    """A yellow line on stderr."""
    err.print(f"warning: {message}", style="yellow", markup=False, highlight=False, soft_wrap=True)
