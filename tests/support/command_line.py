"""The command line, run in the test's own process."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from unittest import mock

from onnx2mvit.cli import main


@dataclass(frozen=True)
class Ran:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


def exit_code(*arguments: object) -> int:
    """Runs `onnx2mvit` with these arguments."""
    with mock.patch.object(sys, "argv", ["onnx2mvit", *map(str, arguments)]):
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
            assert isinstance(code, int)
            return code
    return 0
