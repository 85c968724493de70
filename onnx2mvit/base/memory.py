"""Memory that is given back to the system as soon as nobody needs it, and how much there was."""

from __future__ import annotations

import ctypes
import mmap
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

LARGE = 1 << 18  # bytes: what is smaller stays with the process when it is freed
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # as glibc's malloc.h numbers them


def give_back_at_once() -> None:
    """From now on large arrays go back to the system when they are freed, where glibc is used.

    By itself it keeps up to 64 MB of each size that it has seen, and a tensor of an image between
    two others is never given back: of a conversion of MobileViT-XS that was 280 MB.
    """
    if option := _of_glibc("mallopt"):
        option(_MMAP_THRESHOLD, LARGE)
        option(_TRIM_THRESHOLD, LARGE)


def trim() -> None:
    """Gives back what was freed between small things that are still in use, where glibc is used."""
    if give_back := _of_glibc("malloc_trim"):
        give_back(0)


def _of_glibc(name: str) -> Callable[..., int] | None:
    """A function of the C library that glibc alone has, as musl has it not."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


def peak() -> int | None:
    """The most bytes of memory that this process ever had; None where nobody counts them.

    On Linux `ru_maxrss` is at least what the process had that began this one.
    """
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        return int(found[1]) * 1024 if found else None
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def let_go(arrays: Iterable[np.ndarray[Any, Any]]) -> None:
    """Gives back the pages of files under arrays; they are read again when they are needed.

    Args:
        arrays: of any shape and dtype; those that lie in no mapped file stay as they are.
    """
    advice = getattr(mmap, "MADV_DONTNEED", None)
    if advice is None:  # as on Windows
        return
    for array in arrays:
        below: Any = array
        while isinstance(below, np.ndarray):
            below = below.base
        if isinstance(below, memoryview):
            below = below.obj
        if isinstance(below, mmap.mmap) and not below.closed:
            below.madvise(advice)
