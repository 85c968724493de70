"""Edits of Python source at the places of its syntax nodes, so that all else stays as it is."""

from __future__ import annotations

import ast
from collections.abc import Iterable

Edit = tuple[int, int, str]


class Offsets:
    """Positions of syntax nodes as offsets into the text (the tree counts UTF-8 bytes)."""

    def __init__(self, text: str) -> None:
        self.lines = text.splitlines(keepends=True)
        self.before = [0]
        for line in self.lines:
            self.before.append(self.before[-1] + len(line))

    def _offset(self, line: int, column: int) -> int:
        return self.before[line - 1] + len(self.lines[line - 1].encode()[:column].decode())

    def start(self, node: ast.expr | ast.arg) -> int:
        """Where a node begins."""
        return self._offset(node.lineno, node.col_offset)

    def end(self, node: ast.expr | ast.arg | ast.stmt) -> int:
        """Where a node ends."""
        return self._offset(node.end_lineno or node.lineno, node.end_col_offset or 0)

    def statement(self, node: ast.stmt) -> tuple[int, int]:
        """All lines of a statement."""
        return self.before[node.lineno - 1], self.before[node.end_lineno or node.lineno]


def edited(text: str, edits: Iterable[Edit]) -> str:
    """The text with each piece from start to end replaced."""
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text
