"""Files of a user: whatever is wrong with one is one line."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onnx2mvit.base.quiet import one_line
from onnx2mvit.errors import InvalidModelError, Onnx2mvitError, UsageError


@contextmanager
def reading(
    path: str | Path, what: str, raises: type[Onnx2mvitError] = InvalidModelError
) -> Iterator[Path]:
    """Meanwhile a file of a user is read, by a reader that may fail in ways of its own.

    Args:
        path: the file. A folder, a pipe or a device is refused before anybody waits for it.
        what: what it should be, as in "an image".
        raises: the class of the error that tells the user.

    Raises:
        Onnx2mvitError: it is not there, no file, or not what it should be.
    """
    path = Path(path)
    try:
        refuse_special(path, raises)
        if not path.exists():
            raise raises(f"{path} does not exist")
        yield path
    except Onnx2mvitError:
        raise
    # Decoders of what was cut off or made up fail in as many ways as there are formats.
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise raises(f"{path} cannot be read: {error.strerror}") from error
        raise raises(f"{path} cannot be read as {what}: {one_line(error)}") from error


def seen_from(folder: Path, path: Path) -> str:
    """The relative path from a folder to a file or folder, as reports have it."""
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def refuse_special(path: Path, raises: type[Onnx2mvitError] = InvalidModelError) -> None:
    """Refuses what is there and no file: a folder, a pipe, a device.

    Raises:
        Onnx2mvitError: it is one of these.
    """
    if path.exists() and not path.is_file():
        raise raises(f"{path} is not a file")


def labels_in(path: Path, classes: int, of: str) -> list[str]:
    """The names of classes in a text, one a line.

    Args:
        path: the text.
        classes: how many there must be.
        of: whose they are, as in "the model".

    Raises:
        UsageError: it cannot be read, or has another number of lines.
    """
    with reading(path, "a text of labels", UsageError):
        found = path.read_text(encoding="utf-8").splitlines()
    if len(found) != classes:
        raise UsageError(f"{path} holds {len(found):,} labels, {of} has {classes:,} classes")
    return found


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, by which reports know it; it is not held in memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
