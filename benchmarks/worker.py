"""A runtime in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.networks import IMAGES
from benchmarks.peers import Contender
from benchmarks.places import NETWORKS, ROOT

THREADS = 2


def start(network: str, contender: Contender, batch: int) -> Worker:
    """What a contender made of a network, ready to be timed."""
    log = contender.folder(network) / f"run{batch}.txt"
    images = NETWORKS / network / IMAGES
    file = contender.artifact(network, batch)
    return Worker(contender.runtime, file, images, log, batch, THREADS)


class RunError(Exception):
    """A runtime ended while it was timed."""


class Worker:
    """A runtime in a process of its own, that has run once.

    `error` is how far it is from onnxruntime's answers; `failure` is what kept it from running.
    """

    def __init__(
        self, runtime: str, file: Path, images: Path, log: Path, batch: int, threads: int
    ) -> None:
        """Starts it, and waits until it has run.

        Args:
            runtime: a name of `runtimes.RUNNERS`.
            file: what it is to run.
            images: `images.npz` of the network.
            log: where what it says goes.
            batch: how many of the images are run at a time.
            threads: that the runtime is given.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log.open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.runtimes", runtime, file, images,
             str(batch), str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, cwd=ROOT,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_NUM_INTRAOP_THREADS": str(threads)},
        )  # fmt: skip
        said = self._answer()
        self.error: float = said.get("error", float("inf"))
        self.failure: str = said.get("failure", "")

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"failure": "the process ended"}

    def block(self, warm_up: int, timed: int) -> tuple[float, ...]:
        """The seconds of `timed` calls, after `warm_up` that do not count.

        Raises:
            RunError: its process ended.
        """
        said = self._asked(f"{warm_up} {timed}")
        if isinstance(said, dict):
            raise RunError(f"{self.log.name}: {said['failure']}")
        return tuple(said)

    def larger(self) -> bool | None:
        """Whether it is right on a larger image; None where the network takes none.

        Some runtimes end on such an image, with their process: that is the last that is asked.
        """
        said = self._asked("larger")
        return False if isinstance(said, dict) else said

    def _asked(self, line: str) -> Any:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # which the answer says
        return self._answer()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.communicate()
        self.log.close()
