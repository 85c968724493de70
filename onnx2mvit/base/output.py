"""Output folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import safetensors

from onnx2mvit.base.atomic_swap import exchange, held, hold
from onnx2mvit.errors import Onnx2mvitError, UsageError

MARK = "report.json"  # a folder with it is ours, and may be replaced
ATTEMPTS = 20  # others may exchange the same folder at the same time
ABANDONED = 60.0  # seconds after which a folder that nobody holds is one of a killed process


@contextmanager
def whole_folder(target: Path, mark: str = MARK) -> Iterator[Path]:
    """A folder to write into that takes the place of `target` once everything went well.

    Two may be written for one target at once: each appears whole, and the later one stays. What
    a killed process left beside the target is removed. `mark` is the file by which a folder that
    stands there is known as ours.

    Raises:
        UsageError: there is a folder in its place that `convert` did not write.
        Onnx2mvitError: the disk is full, or the place may not be written.
    """
    work = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    missing = [parent for parent in target.parents if not parent.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if _is_of_others(target, mark):
            raise UsageError(f"{target} holds something else: choose another --output or --name")
        _sweep(target)
        work.mkdir()
    except OSError as error:
        _remove_empty(missing)
        raise _explained(target, error) from error
    try:
        with hold(work):
            yield work
            _make_readable(work)
            take_place(work, target)
    except (OSError, safetensors.SafetensorError) as error:
        raise _explained(target, error) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
        _remove_empty(missing)


def _is_of_others(target: Path, mark: str) -> bool:
    """True if a folder holds something and no mark; others may be exchanging it just now."""
    for _ in range(ATTEMPTS):
        try:
            folder = target.stat().st_ino
            names = {path.name for path in target.iterdir()}
            if target.stat().st_ino == folder:  # else it was taken away, and maybe emptied
                return bool(names) and mark not in names
        except FileNotFoundError:
            return False
        except NotADirectoryError as error:
            raise NotADirectoryError(errno.ENOTDIR, "it is a file") from error
    return False  # one that is replaced again and again is ours


def _sweep(target: Path) -> None:
    """Removes the unfinished folders of processes that are no more."""
    name = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}")
    for path in target.parent.iterdir():
        with contextlib.suppress(OSError):
            old = name.fullmatch(path.name) and time.time() - path.stat().st_mtime > ABANDONED
            if old and not held(path):
                shutil.rmtree(path)


def _remove_empty(folders: list[Path]) -> None:
    """Those that were made for the target alone, if it was not; the inner ones come first."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _make_readable(work: Path) -> None:
    """Gives files what the umask leaves: safetensors makes its own for the owner alone."""
    mode = work.stat().st_mode & 0o666
    for path in work.rglob("*"):
        if path.is_file():
            path.chmod(mode)


def take_place(work: Path, target: Path) -> None:
    """Puts the folder `work` where `target` is, in one step if the system can.

    Raises:
        OSError: it cannot, or others have taken the place too often meanwhile.
    """
    for attempt in range(ATTEMPTS):
        try:
            if not target.exists():
                work.rename(target)
            elif not exchange(work, target):
                _swap_in_two_steps(work, target)
            return
        except OSError as error:
            others = (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST)  # somebody else was faster
            if error.errno not in others or attempt == ATTEMPTS - 1:
                raise


def _swap_in_two_steps(work: Path, target: Path) -> None:
    old = target.with_name(f".{target.name}.old.{secrets.token_hex(4)}")
    target.rename(old)
    try:
        work.rename(target)
    except OSError:
        try:
            old.rename(target)
        except OSError:  # somebody else was faster
            shutil.rmtree(old, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _explained(target: Path, error: Exception) -> Onnx2mvitError:
    why = error.strerror if isinstance(error, OSError) else None
    found = re.search(r"os error (\d+)", str(error))  # safetensors wraps them so
    why = why or (os.strerror(int(found[1])) if found else str(error))
    return Onnx2mvitError(f"{target} cannot be written: {why}. What was there is untouched.")
