"""The memory of libraries: most pages of a large one are read to load it, and never again.

Linux counts them as memory of the process until it is short of some.
"""

from __future__ import annotations

import ctypes
import mmap
import re
import sys
from pathlib import Path
from typing import Any

# Of a mapped file, in /proc/self/smaps: where it begins and ends, and how much of it is no more as
# it is in the file.
MAPPED = re.compile(r"^(\w+)-(\w+) r-.p .* /.*\n(?:.+: .*\n)*?Anonymous: +(\d+) kB", re.MULTILINE)
LOAD, WRITABLE = 1, 2  # the type of a segment that is loaded, and a flag of it, as elf.h has them
CALLBACK = "dl_iterate_phdr"  # which glibc, musl and Android have


class _Segment(ctypes.Structure):
    """Elf64_Phdr."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        *((name, ctypes.c_uint64) for name in ("offset", "address", "physical", "in_file")),
        ("size", ctypes.c_uint64),
        ("alignment", ctypes.c_uint64),
    )


class _Library(ctypes.Structure):
    """The beginning of dl_phdr_info."""

    _fields_ = (
        ("address", ctypes.c_uint64),
        ("name", ctypes.c_char_p),
        ("segments", ctypes.POINTER(_Segment)),
        ("count", ctypes.c_uint16),
    )


def let_go_of_libraries() -> None:
    """Gives back the pages of libraries that are as in their files; they are read when needed.

    Of TensorFlow's 350 MB that are there once it is imported, a conversion needs 50. Pages that
    were written to stay, as does what no library of the process is: the loader is asked, which
    neither loads nor unloads one meanwhile.
    """
    if sys.platform != "linux" or ctypes.sizeof(ctypes.c_void_p) < 8:
        return
    here = ctypes.PyDLL(None)  # keeps Python's lock: no thread waits for it with the loader's
    if not hasattr(here, CALLBACK):
        return
    here.madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    unchanged = _unchanged()

    def let_go(library: Any, size: int, data: object) -> int:
        found = library.contents
        for segment in found.segments[: found.count]:
            first = -(-(found.address + segment.address) // mmap.PAGESIZE) * mmap.PAGESIZE
            last = (found.address + segment.address + segment.size) // mmap.PAGESIZE * mmap.PAGESIZE
            fixed = segment.type == LOAD and not segment.flags & WRITABLE
            if fixed and any(begin <= first < last <= end for begin, end in unchanged):
                here.madvise(first, last - first, mmap.MADV_DONTNEED)
        return 0

    callback = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.POINTER(_Library), ctypes.c_size_t, ctypes.c_void_p
    )
    here[CALLBACK](callback(let_go), None)


def _unchanged() -> list[tuple[int, int]]:
    """Where files are mapped of which no page was written to."""
    text = Path("/proc/self/smaps").read_text(encoding="utf-8", errors="replace")
    found = MAPPED.findall(text)
    return [(int(first, 16), int(end, 16)) for first, end, changed in found if changed == "0"]
