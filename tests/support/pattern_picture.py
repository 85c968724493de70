"""A pattern's expression as a picture: operators and blocks from the input down to the last node.

It is SVG, in colours that can be read on light pages and on dark ones. A box has the operator, or
the kind of a lower block, what must hold for it, and its constants by name; one that may be absent
is dashed. Where there are several forms, they end in one `or`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape

from onnx2mvit.matcher.expression import (
    AnyOf,
    Chain,
    Commutative,
    Expr,
    ForEach,
    Op,
    Operand,
    Param,
    Rearrange,
    Var,
)
from onnx2mvit.matcher.language import Ops
from onnx2mvit.matcher.pattern import Pattern

# Pixels.
LETTER, LINE, PADDING = 6.7, 16, 8
ACROSS, DOWN = 22, 26
SWEEPS = 4  # over the rows, to bring what belongs together side by side
LONGEST, USUAL = 44, 32  # letters of a line
STYLE = """
text { font: 11px monospace; fill: #263238; text-anchor: middle; }
text.more { fill: #546e7a; }
rect { fill: #eceff1; stroke: #546e7a; }
rect.value, rect.or { fill: #cfd8dc; stroke: none; }
rect.absent { stroke-dasharray: 4 3; }
path { fill: none; stroke: #78909c; }
marker path { fill: #78909c; stroke: none; }
"""
HEAD = (
    '<marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto"><path d="M0 1L8 4L0 7z"/></marker>'
)


@dataclass(eq=False)
class Box:
    """A node of the picture, or a place (`bend`) that a long arrow passes."""

    lines: tuple[str, ...]
    kind: str
    row: int = 0
    x: float = 0.0
    above: list[Box] = field(default_factory=list)

    @property
    def width(self) -> float:
        """By its longest line."""
        return max((LETTER * len(line) for line in self.lines), default=0) + 2 * PADDING

    @property
    def height(self) -> float:
        """By how many lines it has."""
        return LINE * len(self.lines) + PADDING if self.lines else 0


def picture(pattern: Pattern) -> str:
    """The expression of a pattern as the text of an SVG file."""
    drawn = _Drawn()
    drawn.box(pattern.onnx(Ops(), Var("x")))
    return _svg(f"{pattern.kind} in ONNX", _rows(drawn.found))


class _Drawn:
    """The boxes of an expression, each part of it once, those that are read before the readers."""

    def __init__(self) -> None:
        self.found: list[Box] = []
        self.boxes: dict[int, Box] = {}

    def box(self, expr: Expr) -> Box:
        """The box of what an expression stands for."""
        if id(expr) not in self.boxes:
            self.boxes[id(expr)] = self._made(expr)
        return self.boxes[id(expr)]

    def _made(self, expr: Expr) -> Box:
        if isinstance(expr, AnyOf):
            first, *others = expr.parts
            if others == [*first.parts[:1]]:  # maybe(…)
                made = self.box(first)
                made.kind = "absent"
                return made
            return self._add(("or",), "or", expr.parts)
        if isinstance(expr, Operand | ForEach):
            return self._repeated(expr)
        if isinstance(expr, Var):
            return self._add((expr.role,), "value", ())
        read = [part for part in expr.parts if not (isinstance(part, Var) and part.constant)]
        return self._add(_lines(expr), "node", read)

    def _repeated(self, expr: Operand | ForEach) -> Box:
        (part,) = expr.parts
        made = self.box(part)
        if isinstance(expr, ForEach) or expr.most is None:
            made.lines = (f"{made.lines[0]}, any number", *made.lines[1:])
        elif expr.least == 0:
            made.kind = "absent"
        return made

    def _add(self, lines: tuple[str, ...], kind: str, read: Iterable[Expr]) -> Box:
        above = list(dict.fromkeys(self.box(part) for part in read))
        made = Box(lines, kind, 1 + max((box.row for box in above), default=-1), above=above)
        self.found.append(made)
        return made


def _lines(expr: Expr) -> tuple[str, ...]:
    """What a box says: the operator, what must hold for it, and its constants."""
    match expr:
        case Chain():
            title = f"{expr.op}, one or more"
        case Op():
            title = expr.op
        case Commutative():
            title = " or ".join(expr.ops)
        case Rearrange():
            title = str(expr.notation.text)
        case _:
            title = type(expr).__name__
    said = [
        f"{name}={value}"
        for name, value in expr.keywords.items()
        if not isinstance(value, Param) and not callable(value)
    ]
    said += [part.role for part in expr.parts if isinstance(part, Var) and part.constant]
    lines = [title]
    for word in said:
        if len(lines) > 1 and len(lines[-1]) + len(word) + 2 <= USUAL:
            lines[-1] += f", {word}"
        else:
            lines.append(word)
    return tuple(line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…" for line in lines)


def _rows(boxes: list[Box]) -> list[list[Box]]:
    """The boxes row by row from the input down, with bends where an arrow passes a row."""
    for box in boxes:  # an input stands right above who reads it first
        if not box.above:
            readers = [other.row for other in boxes if box in other.above]
            box.row = max(0, min(readers, default=1) - 1)
    rows: list[list[Box]] = [[] for _ in range(1 + max(box.row for box in boxes))]
    for box in boxes:
        rows[box.row].append(box)
    for box in boxes:
        for number, source in enumerate(box.above):
            for row in range(source.row + 1, box.row):
                source = Box((), "bend", row, above=[source])
                rows[row].append(source)
            box.above[number] = source
    _place(rows)
    return rows


def _place(rows: list[list[Box]]) -> None:
    """Orders each row by what its boxes read and who reads them, and gives each its middle."""
    below: dict[Box, list[Box]] = {}
    for box in (box for row in rows for box in row):
        for source in box.above:
            below.setdefault(source, []).append(box)
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            near = {box: box.above if sweep % 2 == 0 else below.get(box, []) for box in row}
            row.sort(key=lambda box, near=near: _mean(near[box], box.x))  # type: ignore[misc]
            _spread(row, near)
    left = min(box.x - box.width / 2 for row in rows for box in row)
    for box in (box for row in rows for box in row):
        box.x -= left


def _spread(row: list[Box], near: dict[Box, list[Box]]) -> None:
    """Puts the boxes of a row side by side, as a whole below or above those that they belong to."""
    x = 0.0
    wanted = [_mean(near[box], box.x) for box in row]
    for box in row:
        box.x = x + box.width / 2
        x += box.width + ACROSS
    shift = sum(wanted) / len(wanted) - sum(box.x for box in row) / len(row)
    for box in row:
        box.x += shift


def _mean(boxes: list[Box], other: float) -> float:
    return sum(box.x for box in boxes) / len(boxes) if boxes else other


def _svg(title: str, rows: list[list[Box]]) -> str:
    tops, y = [], float(PADDING)
    for row in rows:
        tops.append(y)
        y += max(box.height for box in row) + DOWN
    width = max(box.x + box.width / 2 for row in rows for box in row)
    parts = []
    for row in rows:
        for box in row:
            for source in box.above:
                parts.append(_arrow(source, box, tops))
    for row, top in zip(rows, tops, strict=True):
        parts += [_drawn(box, top) for box in row if box.lines]
    size = f"{width + 8:.0f}", f"{y - DOWN + PADDING:.0f}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-4 0 {" ".join(size)}" '
        f'width="{size[0]}" height="{size[1]}"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style>{HEAD}{''.join(parts)}</svg>"
    )


def _arrow(source: Box, box: Box, tops: list[float]) -> str:
    start, end = tops[source.row] + source.height, tops[box.row]
    middle = (start + end) / 2
    path = f"M{source.x:.0f} {start:.0f}C{source.x:.0f} {middle:.0f} {box.x:.0f} {middle:.0f} "
    path += f"{box.x:.0f} {end:.0f}"
    head = "" if box.kind == "bend" else ' marker-end="url(#end)"'
    return f'<path d="{path}"{head}/>'


def _drawn(box: Box, top: float) -> str:
    texts = "".join(
        f'<text class="{"more" if number else ""}" x="{box.x:.0f}" '
        f'y="{top + LINE * (number + 1):.0f}">{escape(line)}</text>'
        for number, line in enumerate(box.lines)
    )
    left = box.x - box.width / 2
    return (
        f'<rect class="{box.kind}" x="{left:.0f}" y="{top:.0f}" width="{box.width:.0f}" '
        f'height="{box.height:.0f}" rx="{LINE / 2 if box.kind != "node" else 3:.0f}"/>{texts}'
    )
