"""The network as a picture: a box for a few blocks, a band for each size of the image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from onnx2mvit.reports.page.errors import Scale
from onnx2mvit.reports.page.groups import Group, shortened

# Pixels.
WIDTH, HEIGHT = 208, 66
GAP, BAND = 26, 12
GUTTER = 96
MOST_CURVES = 24
TITLE = 23  # characters


@dataclass(frozen=True)
class Box:
    """A box of the picture; x and y are of its upper left corner."""

    title: str
    times: int
    name: str
    detail: str
    tip: str
    anchor: str
    colour: str
    x: int
    y: int


@dataclass(frozen=True)
class Band:
    """What lies at one size of the image."""

    label: tuple[str, ...]
    y: int
    height: int


@dataclass(frozen=True)
class Diagram:
    """Boxes, bands behind them, and the paths of arrows; `curves` are around other boxes."""

    width: int
    height: int
    bands: tuple[Band, ...]
    boxes: tuple[Box, ...]
    arrows: tuple[str, ...]
    curves: tuple[str, ...]
    hidden: int


@dataclass(frozen=True)
class _Item:
    """A box before it has a place: an input, an output, or a group of blocks."""

    group: Group | None
    space: tuple[str, ...]
    title: str
    name: str = ""
    detail: str = ""


def diagram(
    report: dict[str, Any], groups: Sequence[Group], scale: Scale | None, columns: int
) -> Diagram:
    """The picture with this many boxes side by side."""
    items, edges = _items(report, groups)
    boxes: list[Box] = []
    bands: list[Band] = []
    y = 0
    for space, part in groupby(items, lambda item: item.space):
        inside = list(part)
        top = y
        y += BAND
        for number, item in enumerate(inside):
            column = number % columns
            if number and column == 0:
                y += HEIGHT + GAP
            boxes.append(_box(item, scale, GUTTER + column * (WIDTH + GAP), y))
        y += HEIGHT + BAND
        bands.append(Band(space, top, y - top))
        y += GAP - BAND
    arrows = [_arrow(boxes[a], boxes[b]) for a, b in edges if b == a + 1]
    curves = [_curve(boxes[a], boxes[b]) for a, b in edges if b != a + 1]
    width = max(box.x for box in boxes) + WIDTH + BAND + (GAP if curves else 0)
    return Diagram(
        width,
        y - GAP + BAND,
        tuple(bands),
        tuple(boxes),
        tuple(arrows),
        tuple(curves[:MOST_CURVES]),
        max(0, len(curves) - MOST_CURVES),
    )


def _items(
    report: dict[str, Any], groups: Sequence[Group]
) -> tuple[list[_Item], list[tuple[int, int]]]:
    """Inputs, groups and outputs in their order, and which of them reads which."""
    connections = report["connections"]
    size = report["sizes"]["traced"]
    items = [_Item(None, ("input",), shortened(name)) for name in connections["inputs"]]
    at = {name: number for number, name in enumerate(connections["inputs"])}
    space: tuple[str, ...] = ("input",)
    area = ""
    for group in groups:
        label = _label(group.shape, size)
        # An image as a row of tokens is at the size that it had before.
        tokens = label is not None and label[1:] == ("tokens",)
        if label is not None and not (tokens and label[0] == area):
            space = label
        if group.shape is not None and len(group.shape) == 4:
            area = str(math.prod(axis or 1 for axis in group.shape[1:3]))
        detail = f"{_text(group.shape)} · {_number(group.parameters)}"
        items.append(_Item(group, space, group.title, group.name, detail))
        at.update({row.path: len(items) - 1 for row in group.rows})
    edges = {
        (at[source], at[path])
        for path, sources in connections["reads"].items()
        for source in sources
        if path in at and source in at and at[source] != at[path]
    }
    for name, path in connections["outputs"].items():
        items.append(_Item(None, ("output",), shortened(name)))
        if path in at:
            edges.add((at[path], len(items) - 1))
    return items, sorted(edges)


def _label(shape: tuple[int | None, ...] | None, size: list[int] | None) -> tuple[str, ...] | None:
    """How a band is called by the shape of a tensor; None if it does not say."""
    match shape:
        case (_, int(height), int(width), _):
            stride = size[0] // height if size and height and size[0] % height == 0 else 0
            return (f"{height}×{width}", f"stride {stride}") if stride else (f"{height}×{width}",)
        case (_, int(tokens), int()):
            return (f"{tokens}", "tokens")
        case (_, int()):
            return ("vector",)
    return None


def _text(shape: tuple[int | None, ...] | None) -> str:
    known = [str(axis) for axis in shape or () if axis is not None]
    return "×".join(known) or "?"


def _number(parameters: int) -> str:
    """How many parameters, in three digits."""
    for least, unit in ((1e6, "M"), (1e3, "k")):
        if parameters >= least:
            return f"{parameters / least:.3g} {unit} params"
    return f"{parameters} params" if parameters else "no params"


def _box(item: _Item, scale: Scale | None, x: int, y: int) -> Box:
    if item.group is None:
        return Box(item.title, 1, "", "", item.title, "", "io", x, y)
    group = item.group
    known = [row.error for row in group.rows if row.error is not None]
    error = max(known, default=None)
    names = f"{group.rows[0].name} to {group.rows[-1].name}" if len(group.rows) > 1 else item.name
    tip = f"{names}: {group.parameters:,} parameters"
    if error is not None:
        tip += f", error {error:.2e} of its largest value"
    return Box(
        shortened(item.title, TITLE - 4 * (group.times > 1)),
        group.times,
        shortened(item.name),
        item.detail,
        shortened(tip, 300),
        group.rows[0].anchor,
        "en" if scale is None else scale.colour(error),
        x,
        y,
    )


def _arrow(a: Box, b: Box) -> str:
    if a.y == b.y:
        return f"M{a.x + WIDTH} {a.y + HEIGHT // 2}H{b.x - 3}"
    middle = b.y - GAP // 2
    start, end = a.x + WIDTH // 2, b.x + WIDTH // 2
    return f"M{start} {a.y + HEIGHT}V{middle}H{end}V{b.y - 3}"


def _curve(a: Box, b: Box) -> str:
    """Around what lies between: out of the right side of one, into the right side of the other."""
    right = max(a.x, b.x) + WIDTH + GAP
    start, end = a.y + HEIGHT // 2 + 8, b.y + HEIGHT // 2 - 8
    return f"M{a.x + WIDTH} {start}C{right} {start} {right} {end} {b.x + WIDTH + 3} {end}"
