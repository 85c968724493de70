"""Help on a narrow terminal: names on lines of their own, and what they mean below them.

Typer's tables break every word there.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator
from typing import Any

from typer.core import TyperCommand, TyperGroup

NARROW = 72  # columns; from here on tables can be read
UNBROKEN = "\b"  # at the head of a paragraph whose lines stay as they are


def width() -> int:
    """How many columns the terminal has."""
    return shutil.get_terminal_size().columns


def narrow_help(command: Any, context: Any) -> Iterator[str]:
    """The lines of a command's help, none of them longer than the terminal is wide."""
    usage = " ".join(command.collect_usage_pieces(context))
    yield from _wrapped(f"Usage: {context.command_path} {usage}", hanging="  ")
    yield from _paragraphs(command.help or "")
    records = [(one, one.get_help_record(context)) for one in command.get_params(context)]
    for title, kind in (("Arguments", "argument"), ("Options", "option")):
        told = [found for one, found in records if found and one.param_type_name == kind]
        yield from _list(title, told)
    commands = getattr(command, "commands", {}).values()
    yield from _list("Commands", [(one.name, one.get_short_help_str(1000)) for one in commands])
    yield from _paragraphs(command.epilog or "")


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in textwrap.dedent(text).strip().split("\n\n"):
        lines = paragraph.strip().splitlines()
        if not lines:
            continue
        yield ""
        if lines[0].strip() == UNBROKEN:
            for line in lines[1:]:
                yield from _command(line)
        else:
            yield from _wrapped(" ".join(map(str.strip, lines)))


def _command(line: str) -> list[str]:
    """A command line, continued as a shell has it."""
    indent = " " * (len(line) - len(line.lstrip()))
    parts = _wrapped(line, hanging=indent + "  ", room=2)
    return [f"{part} \\" for part in parts[:-1]] + parts[-1:]


def _list(title: str, records: list[tuple[str, str]]) -> Iterator[str]:
    if records:
        yield from ("", f"{title}:")
    for name, means in records:
        whole = name if len(name) + 2 <= width() else name.replace("|", " | ")  # choices
        yield from _wrapped(whole, "  ", "      ")
        yield from _wrapped(means, "    ", "    ")


def _wrapped(text: str, first: str = "", hanging: str = "", room: int = 0) -> list[str]:
    return textwrap.wrap(
        text,
        width() - room,
        initial_indent=first,
        subsequent_indent=hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )


class NarrowHelp:
    """A command or a group of them whose help can be read on a narrow terminal."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes the help into `formatter`, or has Typer show its tables where there is room."""
        if width() >= NARROW:
            super().format_help(ctx, formatter)  # type: ignore[misc]
        else:
            formatter.write("\n".join(narrow_help(self, ctx)))


class Group(NarrowHelp, TyperGroup):
    """All commands."""


class OneCommand(NarrowHelp, TyperCommand):
    """One of them."""
