"""Photographs become what networks take, in processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnx2mvit.errors import Onnx2mvitError, UsageError
from onnx2mvit.evaluation.dataset import Batch
from onnx2mvit.ir.preprocessing import Preprocessing
from onnx2mvit.runtimes.inputs import as_pixels
from onnx2mvit.runtimes.preprocessing import open_image, prepared

Array = np.ndarray[Any, Any]
WAITING = 2  # batches that are decoded before somebody wants them, beside those of the processes


@dataclass(frozen=True)
class Wanted:
    """What a network takes.

    Attributes:
        size: height and width of its images.
        channels: 3, or 1 for grey.
        dtype: of its pixels.
        how: what is done to photographs.
    """

    size: tuple[int, int]
    channels: int
    dtype: str
    how: Preprocessing

    def __call__(self, image: Any) -> Array:
        """A photograph as (1, height, width, channels).

        Raises:
            UsageError: it is none.
        """
        dtype = np.dtype(self.dtype)
        made = prepared([image], self.how.for_input(dtype), self.size, self.channels)
        return as_pixels(made, dtype)


@dataclass(frozen=True)
class Decoded:
    """The images of a batch, as each network wants them, without those that are damaged.

    Attributes:
        batch: which images.
        pixels: (images, height, width, channels) for each that was wanted; None without images.
        kept: which of the batch these are.
        damaged: the others, by name, and why.
    """

    batch: Batch
    pixels: tuple[Array, ...] | None
    kept: tuple[int, ...]
    damaged: tuple[tuple[str, str], ...]


def decode(folder: Path, batch: Batch, wanted: Sequence[Wanted]) -> Decoded:
    """Reads the images of a batch, each file once.

    Raises:
        MissingDependencyError: pillow is not installed.
    """
    mode = "RGB" if any(each.channels == 3 for each in wanted) else "L"
    kept, damaged, made = [], [], []
    for at, name in enumerate(batch.names):
        try:
            image = open_image(folder / name, mode)
            made.append([each(image) for each in wanted])
            kept.append(at)
        except UsageError as error:
            path = str(folder / name)
            damaged.append((name, str(error).removeprefix(f"{path} ").replace(path, name)))
    pixels = tuple(map(np.concatenate, zip(*made, strict=True))) if made else None
    return Decoded(batch, pixels, tuple(kept), tuple(damaged))


def decoded(
    folder: Path, batches: Iterable[Batch], wanted: Sequence[Wanted], workers: int
) -> Iterator[Decoded]:
    """The same for many batches, in their order; only a few of them are in memory.

    Args:
        folder: in which the images lie.
        batches: which images.
        wanted: what is made of each.
        workers: so many processes; 0 for this one.

    Raises:
        Onnx2mvitError: a process died, of too little memory perhaps.
        MissingDependencyError: pillow is not installed.
    """
    if not workers:
        for batch in batches:
            yield decode(folder, batch, wanted)
        return
    # Not forked: runtimes have threads that a fork would leave behind, holding their locks.
    context, waiting = multiprocessing.get_context("spawn"), deque[Future[Decoded]]()
    pool = ProcessPoolExecutor(workers, context, _begin)
    try:
        for batch in batches:
            waiting.append(pool.submit(decode, folder, batch, wanted))
            if len(waiting) >= workers + WAITING:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise Onnx2mvitError(
            "a process that reads images died: of too little memory perhaps (fewer --workers), or "
            "because a script calls `evaluate` outside of `if __name__ == '__main__'` (workers=0)"
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _begin() -> None:
    """An interrupt is for the process that began this one, and this one ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def check_wanted(wanted: Iterable[Wanted]) -> None:
    """Makes sure that what is wanted can be made of a photograph at all.

    Raises:
        UsageError: it cannot, as when grey images are to be normalized as RGB.
        MissingDependencyError: pillow is not installed.
    """
    for each in wanted:
        each(np.zeros((8, 8, 3), np.uint8))
