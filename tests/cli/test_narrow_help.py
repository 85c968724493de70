"""On a narrow terminal help has names on lines of their own, and nothing is broken or cut off."""

import re
from typing import Any

import pytest
import typer

from onnx2mvit.cli.main import app
from tests.support.command_line import Run

GROUP: Any = typer.main.get_command(app)
COMMANDS: dict[str, Any] = GROUP.commands
WIDTH = 40


@pytest.fixture(params=[(), *((name,) for name in COMMANDS)], ids=lambda given: " ".join(given))
def shown(request: pytest.FixtureRequest, run: Run, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a command's help is at 40 columns."""
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    ran = run(*request.param, "--help")
    assert (ran.code, ran.err) == (0, "")
    return [request.param[0] if request.param else "", *ran.out.splitlines()]


def test_no_line_is_wider_than_the_terminal(shown: list[str]) -> None:
    assert all(len(line) <= WIDTH or len(line.split()) == 1 for line in shown)


def test_every_option_is_there_and_every_word_is_whole(shown: list[str]) -> None:
    name, *lines = shown
    command = COMMANDS[name] if name else GROUP
    words = set(re.split(r"[ |]+", " ".join(lines)))
    for option in command.params:
        record = option.get_help_record(typer.Context(command))
        assert set(re.split(r"[ |]+", " ".join(record or ()))) <= words | {""}


def test_examples_can_be_copied(shown: list[str]) -> None:
    name, *lines = shown
    examples = re.findall(r"onnx2mvit .*", COMMANDS[name].help or "") if name else []
    whole = " ".join(re.sub(r" \\\n +", " ", "\n".join(lines)).split())
    assert all(" ".join(example.split()) in whole for example in examples)


def test_a_wide_terminal_has_tables(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert "╭─ Options" in run("convert", "--help").out
