"""How a command ends: whatever escapes is one line and an exit code, never a trace.

It imports next to nothing, so that even the imports of a command are inside of it.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from onnx2mvit.errors import Onnx2mvitError, UsageError, printable
from onnx2mvit.version import __version__

PACKAGE = Path(__file__).parent
INTERRUPTED = 130
_cleanups: list[Callable[[], None]] = []


@contextmanager
def ending() -> Iterator[None]:
    """Ends the process with a line on stderr and a code if something escapes.

    Raises:
        SystemExit: something did.
    """
    try:
        yield
        with writing_stdout():
            pass  # what is left of it
    except SystemExit:
        raise
    except BaseException as error:
        if "--debug" in sys.argv[1:]:
            traceback.print_exception(error)
        code, line = ended(error)
        say(line, "31")
        raise SystemExit(code) from None


def ended(error: BaseException) -> tuple[int, str]:
    """The exit code for what escaped, and the line that says so."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "interrupted"
    if isinstance(error, Onnx2mvitError):
        return error.exit_code, f"error: {error}"
    if isinstance(error, MemoryError):
        return 1, "error: there is not enough memory"
    if isinstance(error, OSError) and error.strerror:
        return 1, f"error: {error.strerror}" + (f": {error.filename}" if error.filename else "")
    # Click's own errors; Typer may have a copy of Click of its own.
    if message := getattr(error, "format_message", None):
        context = getattr(error, "ctx", None)
        advice = f" (see {context.command_path} --help)" if context else ""
        return UsageError.exit_code, f"error: {message()}{advice}"
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if PACKAGE in Path(frame.filename).parents]
    at = f" at {Path(ours[-1].filename).relative_to(PACKAGE)}:{ours[-1].lineno}" if ours else ""
    what = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return 1, (
        f"error: onnx2mvit {__version__} failed{at} ({what}). This is a fault of the program: "
        "report it to those you have it from, with what --debug shows (and the file, if you may)"
    )


def say(line: str, colour: str = "") -> None:
    """A line on stderr, if there is one; coloured on a terminal."""
    with suppress(OSError, ValueError):
        text = printable(line)
        plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
        if colour and sys.stderr.isatty() and not plain:
            text = f"\x1b[{colour}m{text}\x1b[0m"
        print(text, file=sys.stderr, flush=True)


@contextmanager
def writing_stdout() -> Iterator[None]:
    """Meanwhile results are written; a reader that goes away, as `head` does, is no failure.

    Raises:
        Onnx2mvitError: stdout cannot be written.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        if error.filename is not None:
            raise
        # What is left in it is not to fail once more when the process ends.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            why = error.strerror or "it is closed"
            raise Onnx2mvitError(f"stdout cannot be written: {why}") from error


@contextmanager
def cleaned_up(clean: Callable[[], None]) -> Iterator[None]:
    """Calls `clean` when the block is left, and when a command is interrupted in it."""
    _cleanups.append(clean)
    try:
        yield
    finally:
        clean()
        _cleanups.remove(clean)


def _own_stderr() -> int:
    """A descriptor for what is ours on stderr; `sys.stderr` writes to it from now on."""
    own, stream = os.dup(2), sys.stderr
    usual = "--debug" not in sys.argv[1:] and stream is sys.__stderr__
    if usual and stream is not None:
        stream.flush()
        sys.stderr = open(own, "w", 1, stream.encoding, stream.errors, closefd=False)  # noqa: SIM115
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
    return own


def own_process() -> None:
    """Makes the process fit for a command: open streams that take any text, noted interrupts.

    What libraries write to the descriptor of stderr from C++, at any time, goes nowhere, as they
    know no other switch: with --debug it is shown.
    """
    for descriptor, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:  # closed: a file of ours would get its number, and what others print
            os.open(os.devnull, mode)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 — fails when written
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    stderr = _own_stderr()

    def interrupt(number: int, frame: FrameType | None) -> None:
        # No exception: libraries swallow it, and in an import it may leave locks that are held.
        for clean in reversed(_cleanups):
            with suppress(Exception):
                clean()
        with suppress(OSError):
            os.write(stderr, b"interrupted\n")
        os._exit(INTERRUPTED)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
