"""What all commands share: where results, progress and warnings go."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

# A pipe has no width of its own: lines are left whole there.
out = Console(width=None if sys.stdout.isatty() else 240)
err = Console(stderr=True)


@contextmanager
def live_progress(live: bool = True) -> Iterator[Any]:
    """A live line with the running stage and its time on a terminal; a line per stage elsewhere."""
    start = time.perf_counter()
    if not err.is_terminal or not live:
        yield lambda message: err.print(
            f"{time.perf_counter() - start:5.1f} s  {message}", markup=False, highlight=False
        )
        return
    with err.status("starting") as status:
        yield lambda message: status.update(f"{time.perf_counter() - start:.1f} s  {message} …")


@contextmanager
def results() -> Iterator[None]:
    """For what goes to stdout: a reader that goes away, as `head` does, is no failure."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def warn(message: str) -> None:
    """A yellow line on stderr."""
    err.print(f"warning: {message}", style="yellow", markup=False, highlight=False, soft_wrap=True)
