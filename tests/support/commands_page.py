"""Writes docs/commands.md, the page of the commands, from their own help.

python -m tests.support.commands_page
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import typer

from onnx2mvit.cli.main import app
from tests.support import page_tables

TARGET = Path(__file__).parent.parent.parent / "docs" / "commands.md"
INTRODUCTION = """\
# Commands

Written by `python -m tests.support.commands_page` from what `onnx2mvit COMMAND --help` says.
Results go to stdout, progress and warnings to stderr. [Exit codes](exit_codes.md) are the same for
all commands.
"""
UNBROKEN = "\b"  # what help has at the head of a paragraph whose lines stay as they are


def page() -> str:
    """The page: a chapter for each command."""
    group: Any = typer.main.get_command(app)
    return "\n".join([INTRODUCTION, *(chapter(*each) for each in group.commands.items())])


def chapter(name: str, command: Any) -> str:
    """What a command does, its examples, its arguments and its options."""
    context = typer.Context(command, info_name=f"onnx2mvit {name}")
    records = [parameter.get_help_record(context) for parameter in command.params]
    usage = " ".join(["onnx2mvit", name, *command.collect_usage_pieces(context)])
    parts = [f"## onnx2mvit {name}", f"```text\n{usage}\n```", *paragraphs(command.help)]
    return "\n\n".join([*parts, "\n".join(table(filter(None, records)))]) + "\n"


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a command's help; its examples as they stand."""
    for paragraph in text.split("\n\n"):
        if paragraph.startswith(UNBROKEN):
            head, *lines = paragraph.strip(f"{UNBROKEN}\n").split("\n")
            yield head
            yield "\n".join(["```text", *(line.strip() for line in lines), "```"])
        else:
            yield " ".join(paragraph.split())


def table(records: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Arguments and options with what is said of each."""
    yield "| argument | what it is |\n|---|---|"
    for names, said in records:
        cells = (f"`{names}`", " ".join(said.split()).replace("<", "&lt;"))
        yield page_tables.row(*(cell.replace("|", "\\|") for cell in cells))


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
