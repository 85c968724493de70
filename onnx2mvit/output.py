"""Output folders that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onnx2mvit.errors import Onnx2mvitError, UsageError

MARK = "report.json"  # a folder with it is ours, and may be replaced


@contextmanager
def whole_folder(target: Path, mark: str = MARK) -> Iterator[Path]:
    """A folder to write into that takes the place of `target` once everything went well.

    `mark` is the file by which a folder that stands there is known as ours.

    Raises:
        UsageError: there is a folder in its place that `convert` did not write.
        Onnx2mvitError: the disk is full, or the place may not be written.
    """
    work = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "it is a file")
        if target.exists() and any(target.iterdir()) and not (target / mark).exists():
            raise UsageError(f"{target} holds something else: choose another --output or --name")
        work.mkdir()
    except OSError as error:
        raise _explained(target, error) from error
    try:
        yield work
        _make_readable(work)
        _swap(work, target)
    except OSError as error:
        raise _explained(target, error) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _make_readable(work: Path) -> None:
    """Gives files what the umask leaves: safetensors makes its own for the owner alone."""
    mode = work.stat().st_mode & 0o666
    for path in work.rglob("*"):
        if path.is_file():
            path.chmod(mode)


def _swap(work: Path, target: Path) -> None:
    if not target.exists():
        work.rename(target)
        return
    old = target.with_name(f".{target.name}.old.{os.getpid()}")
    target.rename(old)
    try:
        work.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _explained(target: Path, error: OSError) -> Onnx2mvitError:
    return Onnx2mvitError(
        f"{target} cannot be written: {error.strerror or error}. What was there is untouched."
    )
