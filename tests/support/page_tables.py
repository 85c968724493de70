"""The tables on pages of docs/ that programs write, each known by its head."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

DOCS = Path(__file__).parent.parent.parent / "docs"


def _rows(head: str) -> re.Pattern[str]:
    return re.compile(re.escape(head) + r"\n(?:\|.*\n)*")


def require(page: Path, head: str) -> None:
    """Ends the program, before anything long is done, where there is no such table."""
    if not _rows(head).search(page.read_text(encoding="utf-8")):
        raise SystemExit(f"{page} has no table with the head that is written here")


def cells(page: Path, head: str) -> list[list[str]]:
    """The rows of a table, without its head."""
    table = _rows(head).search(page.read_text(encoding="utf-8"))
    assert table is not None
    rows = table.group().removeprefix(head).strip().splitlines()
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def write(page: Path, head: str, rows: Iterable[str]) -> None:
    """Puts rows in the place of a table's."""
    text = page.read_text(encoding="utf-8")
    table = "\n".join((head, *rows, ""))
    page.write_text(_rows(head).sub(lambda _: table, text), encoding="utf-8")


def row(*cells: str) -> str:
    """A row of a table."""
    return f"| {' | '.join(cells)} |"
