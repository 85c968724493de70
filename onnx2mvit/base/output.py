"""Files and folders that appear whole or not at all; what is not ours in them stays."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import safetensors

from onnx2mvit.base.atomic_swap import exchange, held, hold
from onnx2mvit.ending import cleaned_up
from onnx2mvit.errors import Onnx2mvitError, UsageError

MARK = "report.json"  # a folder with it is ours, and may be replaced
TEMPORARY = re.compile(r"\.onnx2mvit-[0-9a-f]{8}")  # what is called so is ours
TAKEN = (errno.ENOTEMPTY, errno.EEXIST)  # somebody else was faster
ATTEMPTS = 20  # others may exchange the same folder at the same time
ABANDONED = 1.0  # seconds after which what nobody holds is of a killed process


@contextmanager
def whole_folder(target: Path, mark: str = MARK, older: Collection[str] = ()) -> Iterator[Path]:
    """A folder to write into that takes the place of `target` once everything went well.

    Two may be written for one target at once: each appears whole, and the later one stays. Where
    the target is a link, the folder that it points to is replaced. Files of a user in it stay.

    Args:
        target: the folder.
        mark: the file by which a folder that stands there is known as ours.
        older: what an earlier run may have left in it, and is to go.

    Raises:
        UsageError: there is a folder in its place that we did not write.
        Onnx2mvitError: the disk is full, or the place may not be written.
    """
    place = Path(os.path.realpath(target))  # a link stays one, also on the way
    with _explained(target), _beside(place) as work:
        if _is_of_others(place, mark):
            raise UsageError(f"{target} holds something else: choose another --output or --name")
        work.mkdir()
        with hold(work):
            yield work
            _make_readable(work)
            if place.is_dir():
                _carry_over(place, work, older)
            take_place(work, place)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for what nobody wants to keep; one that a killed process left goes as well."""
    with _beside(Path(tempfile.gettempdir()) / "temporary") as work:
        work.mkdir(mode=0o700)
        with hold(work):
            yield work


def write_file(target: Path, content: bytes) -> None:
    """Writes a file in one step: whoever looks sees the old one or the whole new one.

    Where the target is a link, what it points to is replaced; a device is written to.

    Raises:
        Onnx2mvitError: the disk is full, or the place may not be written.
    """
    place = Path(os.path.realpath(target))
    with _explained(target):
        if place.exists() and not place.is_file():
            place.write_bytes(content)  # or says that it is a folder
            return
        with _beside(place) as work:
            work.touch()
            with hold(work):
                work.write_bytes(content)
                work.replace(place)


def remove_folder(folder: Path) -> None:
    """At once, so that another process never sees, or exchanges, a part of it."""
    with _beside(folder) as old, contextlib.suppress(FileNotFoundError):  # another was faster
        folder.rename(old)


@contextmanager
def _beside(place: Path) -> Iterator[Path]:
    """A path for what is to take this place, in the same folder; what is left there goes.

    So does what killed processes left, and folders that were made for the place alone.
    """
    work = place.with_name(f".onnx2mvit-{secrets.token_hex(4)}")
    missing = [parent for parent in place.parents if not parent.exists()]

    def clean() -> None:
        _remove(work)
        with contextlib.suppress(OSError):
            for folder in missing:  # the inner ones come first
                folder.rmdir()

    with cleaned_up(clean):
        place.parent.mkdir(parents=True, exist_ok=True)
        _sweep(place.parent)
        yield work


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        path.unlink()


def _sweep(folder: Path) -> None:
    """Removes what processes that are no more left unfinished."""
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            ours = TEMPORARY.fullmatch(path.name) and not path.is_symlink()
            if ours and time.time() - path.stat().st_mtime > ABANDONED and not held(path):
                _remove(path)


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


def _carry_over(old: Path, work: Path, older: Collection[str]) -> None:
    """Gives the new folder what a user put into the old one: links to the same files."""
    with contextlib.suppress(FileNotFoundError):  # another process exchanges the old one
        for path in old.iterdir():
            there = work / path.name
            if path.name in (*older, "__pycache__") or there.exists():
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.copytree(path, there, symlinks=True, copy_function=_link)
            else:
                _link(path, there)


def _link(path: str | Path, there: str | Path) -> None:
    try:
        os.link(path, there, follow_symlinks=False)
    except OSError:  # a file system without links, or a file of somebody else
        shutil.copy2(path, there, follow_symlinks=False)


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
            if error.errno not in (errno.ENOENT, *TAKEN) or attempt == ATTEMPTS - 1:
                raise


def _swap_in_two_steps(work: Path, target: Path) -> None:
    # Not a name that is swept: a kill between the two steps leaves it alone.
    old = target.with_name(f".{target.name}.old-{secrets.token_hex(4)}")
    target.rename(old)
    try:
        work.rename(target)
    except OSError:
        try:
            old.rename(target)
        except OSError as error:
            if error.errno in TAKEN:
                _remove(old)
        raise
    _remove(old)


@contextmanager
def _explained(target: Path) -> Iterator[None]:
    """Says in words why something cannot be written."""
    try:
        yield
    except (OSError, safetensors.SafetensorError) as error:
        why = error.strerror if isinstance(error, OSError) else None
        found = re.search(r"os error (\d+)", str(error))  # safetensors wraps them so
        why = why or (os.strerror(int(found[1])) if found else str(error))
        raise Onnx2mvitError(
            f"{target} cannot be written: {why}. What was there is untouched."
        ) from error
