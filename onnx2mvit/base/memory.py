"""Memory that is given back to the system as soon as nobody needs it, and how much there was."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
LARGE = 1 << 18  # bytes: what is smaller stays with the process when it is freed
ALIGNED = 64  # bytes, as runtimes like their tensors
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


class MappedFile(mmap.mmap):
    """A file that is looked at as if it were memory, and where it is."""

    path: Path


def mapped(path: Path) -> MappedFile:
    """Looks at a file, of which pages are read when they are looked at.

    Raises:
        OSError: it cannot be read.
        ValueError: it is empty.
    """
    with path.open("rb") as file:
        made = MappedFile(file.fileno(), 0, access=mmap.ACCESS_READ)
    made.path = path.resolve()
    return made


def place_of(array: Array) -> tuple[Path, int] | None:
    """The file in which an array lies row by row, and at which byte; None if it lies in none."""
    below = _under(array)
    if not isinstance(below, MappedFile) or not array.flags.c_contiguous:
        return None
    return below.path, array.ctypes.data - np.frombuffer(below, np.uint8).ctypes.data


def kept_in_file(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The same arrays, read-only, in a file without a name, which goes with the last of them.

    Where none can be written, as on a full disk, they stay in memory.
    """
    kept: dict[str, Array] = {}
    with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=_on_disk()) as file:
        places = {}
        for name, array in arrays.items():
            places[name] = file.seek(-(-file.tell() // ALIGNED) * ALIGNED)
            file.write(np.ascontiguousarray(array).data)
        file.write(bytes(1))  # what is empty cannot be mapped
        file.flush()
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        for name, array in arrays.items():
            kept[name] = np.ndarray(array.shape, array.dtype, data, places[name])
    return kept or dict(arrays)


def _on_disk() -> str | None:
    """A folder for a large file, if a user has not said where: /tmp may be memory itself."""
    said = any(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    return None if said or not os.access("/var/tmp", os.W_OK) else "/var/tmp"


def let_go(arrays: Iterable[Array]) -> None:
    """Gives back the pages of files under arrays; they are read again when they are needed.

    Args:
        arrays: of any shape and dtype; those that lie in no mapped file stay as they are.
    """
    advice = getattr(mmap, "MADV_DONTNEED", None)
    if advice is None:  # as on Windows
        return
    for file in {id(file): file for file in map(_under, arrays)}.values():
        if file is not None and not file.closed:
            file.madvise(advice)


def _under(array: Array) -> mmap.mmap | None:
    """The mapped file in which an array lies."""
    below: Any = array
    while isinstance(below, np.ndarray):
        below = below.base
    if isinstance(below, memoryview):
        below = below.obj
    return below if isinstance(below, mmap.mmap) else None
