"""Two things that Linux can do with folders and Python cannot: exchange two, and hold one."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

AT_FDCWD, RENAME_EXCHANGE = -100, 2
NOT_HERE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)


def exchange(one: Path, other: Path) -> bool:
    """Gives each the name of the other, in one step; False where the system cannot do it.

    Raises:
        OSError: one of them is not there, or may not be renamed.
    """
    if sys.platform != "linux":
        return False
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    if renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in NOT_HERE:
        return False
    raise OSError(code, os.strerror(code), str(other))


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Shows others, by a lock that ends with the process, that a folder is being written."""
    with _locked(folder):
        yield


def held(folder: Path) -> bool:
    """True if some process holds the folder, or if that cannot be known here."""
    with _locked(folder) as got:
        return not got


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    if sys.platform == "win32":
        yield False
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
