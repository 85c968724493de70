"""What all commands share: where results, progress and warnings go, and that nothing obeys a name.

Whatever is printed is printable here: what is of a file moves no cursor and breaks no line.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from onnx2mvit.base.json_text import json_text
from onnx2mvit.ending import say, writing_stdout
from onnx2mvit.errors import printable

Row = tuple[str, str | Text]
BAR = 30  # letters


class Say(Protocol):
    """Says which stage runs, and how far it is."""

    def __call__(self, message: str, done: int = 0, total: int = 0) -> None:
        """It is done so many times, of so many."""


class PlainConsole(Console):
    """A console for texts of one line, in which nothing is a command: no markup, no emoji."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """As rich does, with texts made printable."""
        if isinstance(renderable, str):
            renderable = Text(renderable)
        if isinstance(renderable, Text) and not renderable.plain.isprintable():
            renderable = renderable.copy()
            renderable.plain = printable(renderable.plain)
        return super().render(renderable, options)


err = PlainConsole(stderr=True)


@contextmanager
def live_progress(live: bool = True, quiet: bool = False) -> Iterator[Say]:
    """A line for each stage: on a terminal with its time, which runs while the stage does.

    A message is the name of a stage, and how far it is in brackets or as two numbers. What is
    called in it may freeze the terminal unless `live` is False. Nothing is said if it is `quiet`.
    """
    if quiet:
        yield lambda message, done=0, total=0: None
    elif err.is_terminal and live:
        with Progress(*COLUMNS, console=err) as lines:
            said = _Lines(lines)
            yield said
            said.finish()
    else:
        start = time.perf_counter()

        def line(message: str, done: int = 0, total: int = 0) -> None:
            if not done:
                say(f"{time.perf_counter() - start:5.1f} s  {message}")

        yield line


class _Lines:
    """The stages so far as lines of a terminal, the last of which is running."""

    def __init__(self, lines: Progress) -> None:
        self.lines = lines
        self.stage = ""

    def __call__(self, message: str, done: int = 0, total: int = 0) -> None:
        stage = message.partition(" (")[0]
        if total > 1:
            message = f"{stage} ({done} of {total})"
        if stage != self.stage:
            self.finish()
            self.stage = stage
            self.lines.add_task(message, total=None)
        share = done / total if total > 1 else None
        last = self.lines.task_ids[-1]
        self.lines.update(last, description=message, total=1, completed=share or 0, share=share)

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


class _Bar(ProgressColumn):
    """How far a stage is that knows it, and how long the rest will take."""

    def render(self, task: Task) -> Text:
        share = task.fields.get("share")
        if task.finished or not share or not task.elapsed:
            return Text()
        left = task.time_remaining
        told = "" if left is None else f" {timedelta(seconds=round(left))} left"
        whole = round(BAR * share)
        return Text.assemble(("━" * whole, "green"), ("━" * (BAR - whole), "dim"), (told, "dim"))


COLUMNS = (
    SpinnerColumn(finished_text="[green]✓"),
    _Seconds(),
    TextColumn("{task.description}", markup=False),
    _Bar(),
)


def show_rows(console: Console, rows: Iterable[Row]) -> None:
    """Names and what they stand for; on a terminal the latter keep their column."""
    if not console.is_terminal:
        for name, text in rows:
            console.print(Text.assemble(f"{name:9}", text), soft_wrap=True)
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", min_width=7, no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(name, text)
    console.print(table)


def show_lines(lines: Iterable[str]) -> None:
    """Lines on stdout as they are, however long."""
    for line in lines:
        print(printable(line))


@contextmanager
def results(quiet: bool = False) -> Iterator[Console]:
    """The console for what goes to stdout, which shows nothing if it is `quiet`."""
    with writing_stdout():
        # A pipe has no width of its own: lines are left whole there.
        yield PlainConsole(quiet=quiet, width=None if sys.stdout.isatty() else 240)


def print_json(value: object) -> None:
    """What `--json` shows, to be read by programs; there is no quiet about it."""
    print(json_text(value), end="")


def warn(message: str) -> None:
    """A yellow line on stderr."""
    say(f"warning: {message}", "33")
