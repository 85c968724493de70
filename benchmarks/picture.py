"""The times of all contenders on all networks as one picture, in SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape

from benchmarks.peers import OURS
from benchmarks.record import Record

COLORS = {"ONNX": "#5b7083", "OpenVINO": "#8a5a9e", "LiteRT": "#1f7a4d", "SavedModel": "#b8860b",
          "Keras": "#c2571a", "torch": "#b03a3a"}  # fmt: skip
LEFT, PANEL, GAP, TOP, BOTTOM = 150, 300, 30, 74, 34
LINE, GROUP = 13, 16  # pixels of a contender and between networks
TICKS = (0.25, 0.5, 1, 2, 4, 8)
LEAST, GREATEST = 0.25, 8.0
BATCHES = ("1", "8")


def svg(known: Record) -> str:
    """A row for each contender that was timed, a panel for each batch."""
    networks = [each for each in known["networks"].values() if any(timed(each))]
    rows = sum(len(list(timed(each))) for each in networks)
    height = TOP + rows * LINE + len(networks) * GROUP + BOTTOM
    width = LEFT + len(BATCHES) * (PANEL + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="system-ui, sans-serif" font-size="10">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        *legend(),
        *(part for batch in BATCHES for part in axis(batch, height)),
        *marks(networks),
        "</svg>\n",
    ]
    return "\n".join(parts)


def timed(network: Record) -> Iterator[Record]:
    """The rows of a network that have a time, without onnxruntime's own."""
    return (row for row in network["rows"] if row["timed_ratios"] and row["peer"] != "onnxruntime")


def place(ratio: float, panel: int) -> float:
    """Where a ratio lies, by its logarithm; what is out of the panel lies at its border."""
    share = math.log(min(GREATEST, max(LEAST, ratio)) / LEAST) / math.log(GREATEST / LEAST)
    return LEFT + panel * (PANEL + GAP) + share * PANEL


def legend() -> Iterator[str]:
    """Colors are forms; ours are full."""
    yield text(10, 18, "Time of a call against onnxruntime on the exporter's file; left is faster.")
    for number, (form, color) in enumerate(COLORS.items()):
        x = LEFT + 80 * number
        yield circle(x, 36, color, full=True)
        yield text(x + 9, 39.5, form)
    yield text(LEFT + 80 * len(COLORS), 39.5, f"full: {OURS}, ring: a peer")


def axis(batch: str, height: int) -> Iterator[str]:
    """The lines of a panel, and what they mean."""
    panel = BATCHES.index(batch)
    yield text(place(LEAST, panel), TOP - 18, f"batch {batch}", 'font-weight="600"')
    for tick in TICKS:
        x = place(tick, panel)
        color = "#888888" if tick == 1 else "#dddddd"
        yield f'<path d="M{x:.1f} {TOP - 2}V{height - BOTTOM}" stroke="{color}"/>'
        yield text(x, TOP - 6, f"{tick:g}", 'text-anchor="middle" fill="#666666"')


def marks(networks: list[Record]) -> Iterator[str]:
    """The contenders of all networks, one below the other."""
    y = float(TOP)
    for network in networks:
        y += GROUP
        yield text(10, y - 3, network["title"], 'font-weight="600"')
        for row in timed(network):
            color, full = COLORS[row["form"]], row["peer"] == OURS
            yield text(18, y + LINE / 2 + 3, f"{row['peer']}, {row['form']}")
            for batch, (middle, least, greatest) in row["timed_ratios"].items():
                panel = BATCHES.index(batch)
                ends = place(least, panel), place(greatest, panel)
                middle_y = y + LINE / 2
                yield (
                    f'<path d="M{ends[0]:.1f} {middle_y}H{ends[1]:.1f}" stroke="{color}" '
                    f'stroke-width="2" opacity="0.5"/>'
                )
                yield circle(place(middle, panel), middle_y, color, full)
            y += LINE


def circle(x: float, y: float, color: str, full: bool) -> str:
    """A mark."""
    fill = color if full else "#ffffff"
    return (
        f'<circle cx="{x:.1f}" cy="{y}" r="3.6" fill="{fill}" stroke="{color}" stroke-width="1.5"/>'
    )


def text(x: float, y: float, words: str, more: str = 'fill="#222222"') -> str:
    """Words that begin at a place."""
    return f'<text x="{x:.1f}" y="{y}" {more}>{escape(words)}</text>'
