"""Keeps what libraries chatter away from the user, and puts their errors in one line."""

import contextlib
import io
import logging
import os
import re
import tempfile
import threading
import warnings
from collections.abc import Iterator

# What is redirected belongs to the whole process: two at once would restore each other's.
ONE_AT_A_TIME = threading.RLock()
# The command line owns its process and may redirect it; who imports this package owns theirs.
_command_lines = 0


@contextlib.contextmanager
def as_command_line() -> Iterator[None]:
    """Meanwhile this process is the command line, and `quiet` does its work."""
    global _command_lines
    _command_lines += 1
    try:
        yield
    finally:
        _command_lines -= 1


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drops warnings, log records and whatever is printed; exceptions pass.

    Does nothing unless the process is the command line. Another thread that wants to be quiet
    waits for this one.
    """
    if not _command_lines:
        yield
        return
    with ONE_AT_A_TIME, _dropped():
        yield


@contextlib.contextmanager
def loggers_at(level: int, *names: str) -> Iterator[None]:
    """Meanwhile these loggers pass on what is of this level or above."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, own in zip(loggers, before, strict=True):
            logger.setLevel(own)


@contextlib.contextmanager
def _dropped() -> Iterator[None]:
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            _descriptors_redirected(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


@contextlib.contextmanager
def _descriptors_redirected() -> Iterator[None]:
    """Redirect file descriptors 1 and 2: the legacy exporter prints whole graphs from C++."""
    saved: list[tuple[int, int]] = []
    with tempfile.TemporaryFile() as sink:
        try:
            for descriptor in (1, 2):
                # A process may have been started with either of them closed.
                with contextlib.suppress(OSError):
                    saved.append((descriptor, os.dup(descriptor)))
                    os.dup2(sink.fileno(), descriptor)
            yield
        finally:
            for descriptor, copy in saved:
                os.dup2(copy, descriptor)
                os.close(copy)


def one_line(error: BaseException) -> str:
    """Says what went wrong at the bottom of `error`'s chain of causes, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].startswith("Exception encountered when calling"):
        del lines[0]  # Keras says first in which layer, and then what
    first = lines[0] if lines else ""
    name = type(error).__name__
    return f"{name}: {first[:300]}" if first else name


def all_lines(error: BaseException) -> str:
    """The same with all lines of the message in one, for errors that go on about where."""
    return " ".join(str(error).split())[:300]
