"""The folder mismatch/ in that of a model: there as long as the model differs, and no longer."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from onnx2mvit.base.output import whole_folder
from onnx2mvit.errors import Onnx2mvitError
from onnx2mvit.verifier.mismatch import FOLDER, SCRIPT_NAME, Piece, is_of


def repro_folder(target: Path) -> Path:
    """Where `verify` writes the repro of a mismatch in this folder or .keras file."""
    return (target if target.is_dir() else target.parent) / FOLDER


def renew_repro(target: Path, piece: Piece | None, progress: Callable[[str], None]) -> None:
    """Writes the repro of what was found; without a piece, removes an older one of this target.

    What cannot be written or removed is said as progress: the verdict is what was asked for.
    """
    folder = repro_folder(target)
    if piece is not None:
        try:
            with whole_folder(folder, mark=SCRIPT_NAME) as work:
                piece.write(work, target)
        except Onnx2mvitError as error:
            progress(f"without a repro: {error}")
        return
    try:
        if is_of(folder, target):
            _remove(folder)
    except OSError as error:
        progress(f"{folder} is out of date and cannot be removed: {error.strerror}")


def _remove(folder: Path) -> None:
    """At once, so that another process never sees, or exchanges, a part of it."""
    old = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    with contextlib.suppress(FileNotFoundError):  # another process was faster
        folder.rename(old)
        shutil.rmtree(old)
