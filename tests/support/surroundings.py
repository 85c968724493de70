"""What is around a process, made for tests: other rights, small disks, read-only places, a kill.

Each is a command of its own. Run as root, they are real: rights are given up by setuid, disks are
mounted in a namespace of the process alone, which takes them along when it ends. Elsewhere, the
rights are missing anyway, and `can_mount` says that disks cannot be made.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
NOBODY = 65534
MAIN = """
import os, sys
import onnx2mvit
from onnx2mvit.__main__ import command
from onnx2mvit.cli.main import app
from onnx2mvit import api as conversion
from onnx2mvit.base import output
from onnx2mvit.cli import show
from onnx2mvit.builder import weights
if os.getuid() == 0:
    # Python's own files may be root's alone: what is imported late is imported now.
    conversion.emit(onnx2mvit.inspect({arguments!r}[1]), "net", "")
    sys.argv = ["onnx2mvit", "inspect", {arguments!r}[1]]
    app(standalone_mode=False)
    os.setgroups([])
    os.setgid({nobody})
    os.setuid({nobody})
{before}
sys.argv = ["onnx2mvit", *{arguments!r}]
command()
"""


def command(*arguments: object, before: str = "", nobody: bool = False) -> list[str]:
    """The command line with these arguments; `before` is Python that runs first.

    With `nobody` it has the rights of a user who owns nothing.
    """
    text = MAIN.format(
        nobody=NOBODY, before=before, arguments=[str(argument) for argument in arguments]
    )
    if not nobody:
        text = text.replace("os.getuid() == 0", "False")
    return [sys.executable, "-c", text]


def run(command: list[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs it to its end, on JAX, which is imported in half of the time."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "jax"}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def can_mount() -> bool:
    """True if this user may mount something in a namespace."""
    if shutil.which("unshare") is None:
        return False
    test = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(test, capture_output=True, check=False).returncode == 0


def on_small_disk(command: list[str], folder: Path, kilobytes: int, after: str) -> list[str]:
    """The command with a disk of this size in a folder; `after` is what the shell does last."""
    script = f'mount -t tmpfs -o size={kilobytes}k tmpfs "$0" && "$@"; code=$?; {after}; exit $code'
    return ["unshare", "-m", "sh", "-c", script, str(folder), *command]


def in_read_only(command: list[str], folder: Path) -> list[str]:
    """The command in a working directory that nobody may write."""
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && cd "$0" && exec "$@"'
    return ["unshare", "-m", "sh", "-c", script, str(folder), *command]
