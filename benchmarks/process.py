"""A conversion in a process of its own: how it ended, how long it took and how much memory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LIMIT = 900.0  # seconds
ERROR = re.compile(r"^(?:[\w.]*(?:Error|Exception|Exit|Interrupt)\b|ERROR\b).*", re.MULTILINE)
COLOR = re.compile(r"\x1b\[[0-9;]*m")
SHOWN = 160  # characters of an error


@dataclass(frozen=True)
class Ended:
    """The end of a process and of those that it started.

    `seconds` are of the clock, `cpu_seconds` of processors, `memory_mb` is the most that one of
    the processes had; `error` is one line, empty where the exit status is 0.
    """

    code: int
    seconds: float
    cpu_seconds: float
    memory_mb: float
    error: str


def run(
    command: Sequence[str | Path],
    log: Path,
    environment: Mapping[str, str] | None = None,
    limit: float = LIMIT,
) -> Ended:
    """Runs a program; what it says goes into `log`. One that takes too long is ended."""
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with log.open("wb") as file:
        process = subprocess.Popen(
            [str(each) for each in command],
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=os.environ | dict(environment or {}),
            cwd=log.parent,
            start_new_session=True,
        )
        timer = threading.Timer(limit, os.killpg, (process.pid, signal.SIGKILL))
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
    seconds = time.perf_counter() - start
    code = process.returncode = os.waitstatus_to_exitcode(status)
    said = log.read_text(encoding="utf-8", errors="replace")
    late = seconds >= limit
    return Ended(
        code=code,
        seconds=seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        memory_mb=usage.ru_maxrss * 1024 / 1e6,
        error="" if not code else f"more than {limit:.0f} s" if late else error_line(said, code),
    )


def error_line(said: str, code: int) -> str:
    """The line of what a program said that names its error, without folders of this machine."""
    said = COLOR.sub("", said)
    found = ERROR.findall(said) or said.strip().splitlines()[-1:] or [f"exit status {code}"]
    line = re.sub(r"(?:/[\w.@+-]+)+/", "", found[-1]).strip()
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}…"
