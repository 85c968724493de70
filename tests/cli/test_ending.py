"""However a command ends, it is one line and a code: faults, interrupts, streams that are gone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from onnx2mvit.cli.main import app
from tests.support.command_line import Run
from tests.support.graphs import model, save

TINY = "g (float[N,3,8,8] x) => (float[N,3,8,8] y) { y = Relu(x) }"
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(model(TINY), tmp_path_factory.mktemp("tiny"), "tiny.onnx")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("a\n\x1b[31mb"), "RuntimeError: a �[31mb"),
        (RecursionError("too deep"), "RecursionError: too deep"),
        (MemoryError(), "not enough memory"),
        (OSError(28, "No space left on device"), "error: No space left on device"),
        (OSError(13, "Permission denied", "/x\x1by"), "error: Permission denied: /x�y"),
    ],
)
def test_whatever_escapes_is_one_line(
    run: Run, tiny: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("onnx2mvit.inspect", fails)
    ran = run("inspect", tiny)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("error: ") and said in ran.err and ran.err.count("\n") == 1
    debugged = run("inspect", tiny, "--debug")
    assert "Traceback" in debugged.err and debugged.err.endswith(ran.err)


def test_a_fault_of_the_program_says_where_it_is_and_whom_to_tell(
    run: Run, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnx2mvit.cli.show.leftovers", lambda network: 1 / 0)
    ran = run("inspect", tiny)
    assert "failed at cli/show.py:" in ran.err and "ZeroDivisionError" in ran.err
    assert "report it to" in ran.err and "--debug" in ran.err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_can_be_debugged(command: str) -> None:
    assert "--debug" in [name for each in COMMANDS[command].params for name in each.opts]


def test_usage_is_one_line_with_where_to_look(run: Run) -> None:
    ran = run("inspect", "a\x1b[31m.onnx", "b\nFAKE", "c")
    assert ran.code == 2
    assert ran.err.startswith("error: ") and ran.err.count("\n") == 1
    assert ran.err.endswith(" (see onnx2mvit inspect --help)\n")
    assert run().code == 2 and "Commands" in run().out


@pytest.mark.parametrize("arguments", [("--version",), ("inspect",), ("inspect", "--json")])
def test_a_full_disk_behind_stdout_is_an_error(
    run: Run, tiny: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 — a stream
        monkeypatch.setattr(sys, "stdout", full)
        ran = run(*arguments[:1], *[tiny] * (arguments[0] == "inspect"), *arguments[1:])
    assert ran.code == 1
    assert ran.err == "error: stdout cannot be written: No space left on device\n"


@pytest.mark.parametrize(
    ("closed", "code", "err"),
    [
        (">&-", 1, "error: stdout cannot be written: Bad file descriptor\n"),
        ("2>&-", 0, ""),
    ],
)
def test_a_closed_stream_is_no_trace(closed: str, code: int, err: str) -> None:
    command = f"{sys.executable} -m onnx2mvit --version {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, err)


@pytest.mark.parametrize("package", ["onnx", "keras"])
def test_an_interrupt_in_an_import_that_swallows_it(
    tiny: Path, tmp_path: Path, package: str
) -> None:
    (tmp_path / "early" / package).mkdir(parents=True)
    (tmp_path / "early" / package / "__init__.py").write_text(
        "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n"
        "except BaseException:\n    raise ImportError('swallowed') from None\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "onnx2mvit", "convert", str(tiny), "-o", "out", "--quiet"],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "early")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
    assert not (tmp_path / "out").exists()


NOISY = """
import os, sys
sys.argv = ["onnx2mvit", "inspect", {file!r}, *{more!r}]
import onnx2mvit
read = onnx2mvit.inspect
def noisy(*arguments, **options):
    os.write(2, b"I0000 from C++\\n")
    return read(*arguments, **options)
onnx2mvit.inspect = noisy
from onnx2mvit.__main__ import command
command()
"""


@pytest.mark.parametrize("more", [[], ["--debug"]], ids=["usual", "debug"])
def test_what_libraries_write_from_c_is_shown_for_debugging_alone(
    tiny: Path, more: list[str]
) -> None:
    code = NOISY.format(file=str(tiny), more=more)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ("I0000 from C++" in done.stderr) == bool(more)
    code = NOISY.format(file="missing.onnx", more=more)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 3 and "error: missing.onnx does not exist" in done.stderr
