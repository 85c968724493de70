"""What a terminal shows: stages while they run, a table in the end, and examples that work."""

import contextlib
import io
import json
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from rich.text import Text

import onnx2mvit
from onnx2mvit.cli import console
from onnx2mvit.cli.main import app
from onnx2mvit.cli.show import show_conversion
from onnx2mvit.exporter import ExportResult
from tests.support.command_line import Ran, Run
from tests.support.graphs import model, save

pytestmark = pytest.mark.xdist_group("terminal")

GROUP: Any = typer.main.get_command(app)
COMMANDS: dict[str, Any] = GROUP.commands
WIDTH = 80


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = """g (float[N,3,16,16] x) => (float[N,4,16,16] y) {
        c = Conv(x, w, b)  s = Sigmoid(c)  y = Mul(c, s) }"""
    return save(model(text, w=(4, 3, 1, 1), b=(4,)), tmp_path_factory.mktemp("tiny"), "tiny.onnx")


def examples(command: str) -> list[str]:
    """The command lines that a command's help shows."""
    found = re.findall(r"onnx2mvit .*", COMMANDS[command].help or "")
    return [line.strip() for line in found]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_examples_that_are_command_lines_of_it(command: str) -> None:
    assert examples(command)
    for example in examples(command):
        program, name, *arguments = shlex.split(example)
        assert (program, name) == ("onnx2mvit", command)
        with contextlib.suppress(typer.Exit):  # --list, which shows and stops
            COMMANDS[command].make_context(name, arguments)


def test_an_example_that_is_no_command_line_would_be_found() -> None:
    with pytest.raises(Exception, match="No such option"):
        COMMANDS["convert"].make_context("convert", ["a.onnx", "--no-such-option"])


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_are_not_broken_into_lines_by_a_terminal(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    ran = run(command, "--help")
    assert (ran.code, ran.err) == (0, "")
    lines = [line.strip().removeprefix("Example: ") for line in ran.out.splitlines()]
    assert [line for line in lines if line.startswith("onnx2mvit ")] == examples(command)


def test_a_conversion_ends_with_a_table_without_colours_in_a_pipe(
    run: Run, tiny: Path, tmp_path: Path
) -> None:
    ran = run("convert", tiny, "-o", tmp_path)
    rows = dict(line.split(None, 1) for line in ran.out.splitlines())
    assert list(rows)[:4] == ["folder", "files", "model", "takes"]
    assert rows["verdict"] == "passed"
    stages = ("read", "rewrite", "emit", "build", "verify", "save")
    assert all(re.search(rf"\b{stage} \d+\.\d", rows["seconds"]) for stage in stages)
    assert rows["look"].endswith("report.html")
    assert "\x1b" not in ran.out + ran.err


def test_quiet_says_nothing(run: Run, tiny: Path, tmp_path: Path) -> None:
    assert run("convert", tiny, "-o", tmp_path, "--quiet") == Ran(0, "", "")
    assert (tmp_path / "tiny" / "report.html").is_file()


def test_quiet_still_says_what_went_wrong(run: Run, tmp_path: Path) -> None:
    ran = run("convert", tmp_path / "no.onnx", "-q")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("error: ") and ran.err.count("\n") == 1


@pytest.fixture(scope="module")
def converted(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx2mvit.convert(tiny, tmp_path_factory.mktemp("converted"), verify=False).folder


@pytest.mark.parametrize("command", ["export", "convert", "verify", "benchmark", "deploy"])
def test_every_command_that_takes_its_time_can_be_quiet(run: Run, command: str) -> None:
    (option,) = [each for each in COMMANDS[command].params if each.name == "quiet"]
    assert option.opts == ["--quiet", "-q"]
    assert option.help == "Say nothing but errors and warnings (and --json, if there is one)."


def test_a_quiet_verification_has_its_verdict_in_the_code(
    run: Run, tiny: Path, converted: Path, tmp_path: Path
) -> None:
    verify = ("verify", tiny, converted / "tiny.keras", "--inputs", 1, "--quiet")
    assert run(*verify) == Ran(0, "", "")
    ran = run(*verify, "--json")
    assert json.loads(ran.out)["verdict"] == "passed" and ran.err == ""
    text = (converted / "tiny.py").read_text()
    assert '"silu"' in text
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    (wrong / "tiny.py").write_text(text.replace('"silu"', '"tanh"'))
    (wrong / "tiny.safetensors").write_bytes((converted / "tiny.safetensors").read_bytes())
    ran = run("verify", tiny, wrong, "--inputs", 1, "-q")
    assert (ran.code, ran.out) == (5, "")
    assert ran.err.startswith("error: ") and ran.err.count("\n") == 1


def test_a_quiet_deployment(run: Run, converted: Path, tmp_path: Path) -> None:
    deploy = ("deploy", converted, "--inputs", 1, "-o", tmp_path, "--quiet")
    assert run(*deploy) == Ran(0, "", "")
    ran = run(*deploy, "--json")
    assert (ran.code, ran.err) == (0, "")
    assert json.loads(ran.out)["format"] == "litert"


def test_a_quiet_benchmark_still_warns(
    run: Run, tiny: Path, converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnx2mvit.benchmarks.BUSY", -1.0)
    figures = tmp_path / "figures.json"
    arguments = ("--batch", 1, "--rounds", 1, "--json", figures, "--quiet")
    ran = run("benchmark", tiny, converted, *arguments)
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.startswith("warning: other processes") and ran.err.count("\n") == 1
    assert json.loads(figures.read_text())["rows"]


def test_a_quiet_export_still_warns(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exported(*_: object, progress: Any, warn: Any, **__: object) -> ExportResult:
        progress("load")
        warn("no hub")
        return ExportResult(tmp_path / "net.onnx", 1, 20, "random (seed 0)", 0.0, 1.0, 1, 0.1)

    monkeypatch.setattr("onnx2mvit.exporter.export", exported)
    assert run("export", "mobilevit_xs", "--quiet") == Ran(0, "", "warning: no hub\n")
    loud = run("export", "mobilevit_xs")
    assert "1 nodes, opset 20" in loud.out and "load" in loud.err


def test_a_quiet_conversion_still_warns(
    run: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx2mvit.Conversion, "warnings", ["look"])
    ran = run("convert", tiny, "-o", tmp_path, "--no-verify", "--quiet")
    assert ran == Ran(0, "", "warning: look\n")


def test_json_is_the_report(run: Run, tiny: Path, tmp_path: Path) -> None:
    ran = run("convert", tiny, "-o", tmp_path, "--inputs", 3, "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["verification"]["inputs"] == 3
    assert ran.out == (tmp_path / "tiny" / "report.json").read_text(encoding="utf-8")
    assert "verify" in ran.err
    quiet = run("convert", tiny, "-o", tmp_path, "--json", "--quiet", "--no-verify")
    assert json.loads(quiet.out)["verification"] is None
    assert quiet.err == ""


def shown(made: onnx2mvit.Conversion, **options: bool | int) -> str:
    file = io.StringIO()
    show_conversion(Console(file=file, width=WIDTH, **options), made)  # type: ignore[arg-type]
    return file.getvalue()


def test_colours_are_for_a_terminal_alone(tiny: Path, tmp_path: Path) -> None:
    made = onnx2mvit.convert(tiny, tmp_path)
    assert "\x1b[1;32mpassed" in shown(made, force_terminal=True, legacy_windows=False)
    assert "\x1b" not in shown(made, force_terminal=False)


def test_a_pipe_gets_whole_lines_and_a_terminal_gets_columns() -> None:
    rows = [("name", Text("word " * 30 + "end")), ("other", Text("[red]x[/red]"))]
    pipe, terminal = io.StringIO(), io.StringIO()
    console.show_rows(Console(file=pipe, width=40), rows)
    screen = Console(file=terminal, width=40, force_terminal=True, color_system=None)
    console.show_rows(screen, rows)
    assert len(pipe.getvalue().splitlines()) == 2
    assert "[red]x[/red]" in pipe.getvalue()
    lines = terminal.getvalue().splitlines()
    assert len(lines) > 4 and all(len(line) <= 40 for line in lines)
    assert all(line.startswith(" " * 7) for line in lines[1:-1])


def test_a_terminal_shows_a_line_for_each_stage_with_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(
        console,
        "err",
        Console(file=screen, width=WIDTH, force_terminal=True, color_system=None),
    )
    with console.live_progress() as progress:
        for message in ("read", "verify", "verify (1 of 8 images)", "save"):
            progress(message)
    last = screen.getvalue().rpartition("\x1b[2K")[2]
    lines = [line for line in last.splitlines() if line.strip()]
    stages = [re.fullmatch(r"✓ +\d+\.\d s (\w+) *", line) for line in lines if "✓" in line]
    assert [stage and stage[1] for stage in stages] == ["read", "verify", "save"]


def test_elsewhere_a_stage_is_a_line_and_quiet_is_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with console.live_progress() as progress:
        progress("read")
    assert capsys.readouterr().err == "  0.0 s  read\n"
    with console.live_progress(quiet=True) as progress:
        progress("read")
    assert capsys.readouterr().err == ""


COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9]")


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """What a command shows on a terminal of its own."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "onnx2mvit", *arguments]
    surroundings = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    subprocess.run(
        command,
        env=surroundings | {"TERM": "xterm-256color"} | environment,
        stdout=theirs,
        stderr=theirs,
        check=False,
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal ends
        while part := os.read(ours, 65536):
            shown += part
    os.close(ours)
    return shown.decode()


@pytest.mark.parametrize("arguments", [("patterns", "Dens"), ("convert", "--nope")], ids=" ".join)
def test_no_color_means_none(arguments: tuple[str, ...]) -> None:
    assert COLOUR.search(on_a_terminal(*arguments))
    assert not COLOUR.search(on_a_terminal(*arguments, NO_COLOR="1"))
