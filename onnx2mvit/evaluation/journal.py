"""What an evaluation has done so far, in a file: one that was interrupted goes on from there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from onnx2mvit.errors import Onnx2mvitError
from onnx2mvit.evaluation.tally import Record


class Journal:
    """A line for each batch, after one that says of what; it can be cut off anywhere.

    Attributes:
        done: the numbers of the first images of batches that are in it.
        images: how many images these are, those that are damaged included.
    """

    def __init__(self, path: Path, key: str) -> None:
        """Opens a file, and begins anew if it is of another evaluation.

        Args:
            path: the file; its folder is made.
            key: says what is evaluated; a file with another one is of no use.

        Raises:
            Onnx2mvitError: it cannot be written.
        """
        self.path, self.images = path, 0
        self.done: set[int] = set()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.file = path.open("a+", encoding="utf-8")
            self._resume(key)
        except OSError as error:
            raise Onnx2mvitError(f"{path} cannot be written: {error.strerror}") from error

    def _resume(self, key: str) -> None:
        self.file.seek(0)
        whole = 0
        if self.file.readline() == key + "\n":
            whole = self.file.tell()
            while line := self.file.readline():
                if not line.endswith("\n"):  # the process was killed while it wrote
                    break
                record = Record.from_json(line)
                self.done.add(record.start)
                self.images += len(record.names) + len(record.damaged)
                whole = self.file.tell()
        self.file.truncate(whole)
        self.file.seek(0, 2)
        if not whole:
            self.file.write(key + "\n")
            self.file.flush()

    def add(self, record: Record) -> None:
        """One more batch is done."""
        self.file.write(record.as_json() + "\n")
        self.file.flush()

    def __iter__(self) -> Iterator[Record]:
        """All that is in it, one at a time."""
        with self.path.open(encoding="utf-8") as lines:
            next(lines)
            for line in lines:
                yield Record.from_json(line)

    def close(self) -> None:
        """Closes the file, which stays."""
        self.file.close()

    def remove(self) -> None:
        """It was of use."""
        self.close()
        with suppress(FileNotFoundError):
            self.path.unlink()
