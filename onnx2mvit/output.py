"""Output folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onnx2mvit.errors import Onnx2mvitError


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A folder to write into that takes the place of `target` once everything went well.

    Raises:
        Onnx2mvitError: the disk is full, or the place may not be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise _explained(target, error) from error
    try:
        yield work
        work.chmod(0o755)  # mkdtemp makes it private
        _swap(work, target)
    except OSError as error:
        raise _explained(target, error) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


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
