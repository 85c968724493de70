"""A network in a few boxes: blocks that repeat, and those of one module, are one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from onnx2mvit.reports.page.tree import Row

MOST_BOXES = 28  # more cannot be read
MOST_ROWS = 60  # at the top of the tree
LONGEST = 29  # characters of a line in a box
SHOWN_KINDS = 2


@dataclass(frozen=True)
class Group:
    """Blocks that are one box, and how often they are repeated."""

    rows: tuple[Row, ...]
    title: str
    name: str
    times: int = 1

    @property
    def shape(self) -> tuple[int | None, ...] | None:
        """The shape of what the last of its blocks gives."""
        return self.rows[-1].shape

    @property
    def parameters(self) -> int:
        """Of all its blocks."""
        return sum(row.parameters for row in self.rows)

    @property
    def signature(self) -> tuple[object, ...]:
        """What is the same in two groups that are drawn as one."""
        kinds = Counter(row.kind for row in self.rows)
        title = self.title if len(self.rows) == 1 else ""
        return (title, self.shape, frozenset(kinds.items()))


def grouped(rows: Sequence[Row]) -> list[Group]:
    """As few boxes as can be read, and of these as many as possible."""
    found: list[Group] = []
    for key in _keys(rows):
        found = _repeated([_group(tuple(part)) for _, part in groupby(rows, key)])
        if len(found) <= MOST_BOXES:
            return found
    step = -(-len(found) // MOST_BOXES)  # nothing in it to go by: as many in each
    merged = [found[start : start + step] for start in range(0, len(found), step)]
    return [_group(tuple(row for group in part for row in group.rows)) for part in merged]


def _keys(rows: Sequence[Row]) -> Iterator[Callable[[Row], object]]:
    """What blocks that stand together in a box share, from the finest to the coarsest."""
    yield lambda row: "" if row.single else row.anchor
    modules = {row.anchor: _module(row) for row in rows}
    for depth in range(max(map(len, modules.values()), default=0) - 1, 0, -1):
        yield _up_to(depth, modules)
    yield lambda row: _space(row.shape)


def _up_to(depth: int, modules: dict[str, list[str]]) -> Callable[[Row], object]:
    return lambda row: modules[row.anchor][:depth]


def _module(row: Row) -> list[str]:
    name = re.sub(r"_\d+$", "", row.name) if row.single else row.name
    return name.split(".")


def _space(shape: tuple[int | None, ...] | None) -> tuple[int | None, ...] | None:
    return shape[1:-1] if shape is not None else None


def _group(rows: tuple[Row, ...]) -> Group:
    if len(rows) == 1:
        return Group(rows, rows[0].kind, rows[0].name)
    all_single = all(row.single for row in rows)
    kinds = Counter("operators" if row.single and not all_single else row.kind for row in rows)
    most = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(SHOWN_KINDS))
    shared = _module(rows[0])
    for row in rows[1:]:
        same = [a == b for a, b in zip(shared, _module(row), strict=False)]
        shared = shared[: (*same, False).index(False)]
    more = " …" if len(kinds) > SHOWN_KINDS else ""
    return Group(rows, ".".join(shared) or f"{len(rows)} blocks", most + more)


def _repeated(groups: list[Group]) -> list[Group]:
    found = []
    for _, part in groupby(groups, lambda group: group.signature):
        same = list(part)
        rows = tuple(row for group in same for row in group.rows)
        title, name = same[0].title, same[0].name
        if len(same) > 1 and len(same[0].rows) == 1:
            name = f"{name} … {_last(same[-1].name)}"
        elif len(same) > 1:
            title = f"{title} … {_last(same[-1].title)}"
        found.append(Group(rows, title, name, len(same)))
    return found


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def sections(rows: tuple[Row, ...], groups: Sequence[Group]) -> tuple[Row, ...]:
    """The rows of the tree; where there are too many at the top, those of a box are below one."""
    if len(rows) <= MOST_ROWS:
        return rows
    return tuple(group.rows[0] if len(group.rows) == 1 else _section(group) for group in groups)


def _section(group: Group) -> Row:
    farthest = max(group.rows, key=lambda row: -1.0 if row.error is None else row.error)
    return Row(
        anchor=f"s-{group.rows[0].anchor}",
        kind=group.title,
        name=group.name,
        hyperparameters="",
        shape=group.shape,
        parameters=group.parameters,
        path="",
        error=farthest.error,
        colour=farthest.colour,
        single=False,
        children=group.rows,
    )


def shortened(text: str, most: int = LONGEST) -> str:
    """The text, or its ends if it is too long for a box."""
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[:half]}…{text[-half:]}"
