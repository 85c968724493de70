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


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop warnings, log records and whatever is printed; exceptions pass.

    Another thread that wants to be quiet waits for this one.
    """
    with ONE_AT_A_TIME, _dropped():
        yield


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
    """Say what went wrong at the bottom of `error`'s chain of causes, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    name = type(error).__name__
    return f"{name}: {first[:300]}" if first else name


def all_lines(error: BaseException) -> str:
    """The same with all lines of the message in one, for errors that go on about where."""
    return " ".join(str(error).split())[:300]
