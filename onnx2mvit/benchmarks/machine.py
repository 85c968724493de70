"""What the machine does beside us, and how much memory we take: whether a timing can be trusted."""

from __future__ import annotations

import os
import time
from types import TracebackType

from onnx2mvit.base.memory import peak
from onnx2mvit.base.optional import optional

BUSY = 0.1  # of the processors at the hands of others: more than that shows in the figures
LOOK = 1.0  # seconds


class Others:
    """The share of all processors that other processes took while the block of `with` ran.

    What the hypervisor took away (steal) counts as theirs, what the processes of `ours` took does
    not: those that we started, by their numbers.
    """

    share = 0.0

    def __init__(self, *ours: int) -> None:
        self.ours = (os.getpid(), *ours)

    def __enter__(self) -> Others:
        self._start = self._now()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        busy, own, wall = (now - then for now, then in zip(self._now(), self._start, strict=True))
        self.share = min(1.0, max(0.0, (busy - own) / (wall * (os.cpu_count() or 1))))

    def _now(self) -> tuple[float, float, float]:
        """Seconds of processor time that all took, that we took, and of the clock."""
        psutil = optional("psutil")
        everyone = psutil.cpu_times()
        idle = everyone.idle + getattr(everyone, "iowait", 0.0)
        # Linux counts a guest's time into that of its host once more.
        twice = getattr(everyone, "guest", 0.0) + getattr(everyone, "guest_nice", 0.0)
        times = [psutil.Process(number).cpu_times() for number in self.ours]
        own = sum(each.user + each.system for each in times)
        return sum(everyone) - idle - twice, own, time.perf_counter()


def share_of_others(seconds: float = LOOK) -> float:
    """The share of all processors that others take while we wait for so long."""
    with Others() as others:
        time.sleep(seconds)
    return others.share


def memory() -> int:
    """Bytes of memory that this process has at the moment."""
    used: int = optional("psutil").Process().memory_info().rss
    return used


def peak_memory() -> int:
    """The most bytes of memory that this process ever had; what it has now where none counts."""
    return max(memory(), peak() or 0)


def load_average() -> float | None:
    """How many processes wanted a processor over the last minute; None where nobody counts."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None
