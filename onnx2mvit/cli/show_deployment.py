"""A deployment for people, on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from onnx2mvit.cli.console import Row, show_rows
from onnx2mvit.deployment import Deployment, Fidelity
from onnx2mvit.reports.wording import axes, matched_boxes

SHOWN_BLOCKS = 8


def show_deployment(console: Console, result: Deployment) -> None:
    """The file, how far its answers are off, what blocks lose, and what a user should know."""
    report = result.report
    colour = "green" if result.passed else "red"
    weights = report["weights"] or "unknown"
    takes, gives = (
        ", ".join(f"{each['name']} {axes(each)}" for each in report[kind])
        for kind in ("inputs", "outputs")
    )
    signatures = (f"{name} ({', '.join(given)})" for name, given in report["signatures"].items())
    rows: list[Row] = [
        ("file", f"{result.file}  {report['bytes'] / 1e6:.2f} MB, {report['precision']}"),
        ("weights", weights + (": it classifies nothing" if "random" in weights else "")),
        ("takes", takes),
        ("gives", gives),
        *([("calls", "; ".join(signatures))] if report["signatures"] else []),
        *([("load", report["load"])] if "load" in report else []),
        ("verdict", Text(report["verdict"], style=f"bold {colour}")),
        *_compared(result.comparison),
        *_agreement(report.get("agreement")),
        *(("note", Text(note, style="yellow")) for note in report["notes"]),
    ]
    show_rows(console, rows)
    if result.losses:
        console.print(_blocks(result))


def _compared(found: Fidelity) -> list[Row]:
    noise = "nothing differs" if found.sqnr_db is None else f"{found.sqnr_db:.1f} dB"
    off = f"{found.max_abs_error:.2e} at most, {found.max_rel_error:.2e} of the largest value"
    rows: list[Row] = [
        ("against", f"{found.against}, on {found.images}"),
        ("error", f"{off}; signal to noise {noise}"),
    ]
    if found.float64 is not None:
        rows.append(("float64", found.float64["words"]))
    if found.mean_iou is not None:
        said = f"mean IoU {found.mean_iou:.4f} with the original's, of {found.answers} classes"
        rows.append(("masks", said))
    if found.boxes is not None:
        rows.append(("boxes", matched_boxes(found.boxes, "of the original's", "of the file's")))
    if found.top1_agreement is None:
        return rows
    top = f"{found.top1_agreement:.1%} agree, {found.answers} different answers"
    if found.differing:
        widest = max(found.differing.values())
        top += (
            f"; the {len(found.differing)} that differ were within {widest:.3g} of a tie "
            f"(median margin {found.median_margin:.3g})"
        )
    return [*rows, ("top-1", top)]


def _agreement(found: Mapping[str, Any] | None) -> list[Row]:
    """How a target was reached, and what that costs."""
    if found is None:
        return []
    tuned, plain, held = found["tuned"], found["all_in_int8"], found["held_out"]
    agree, all_int8 = (f"{each['agreeing']} of {each['count']}" for each in (tuned, plain))
    chance = found["chance"]
    levels = [("float32", found["float32"]), ("static", found["static"])]
    took = {name: f"{each:.1f} ms" for name, each in found["milliseconds"].items()}
    return [
        ("kept", f"{found['words']}; of all such images {held['at_least']:.1%} or more (95%)"),
        (
            "chosen",
            f"by {tuned['images']}: of those that decide, {agree} agree; with every block in "
            f"dynamic int8 {all_int8}",
        ),
        (
            "demanded",
            f"that {held['count']} others keep {100 * found['wanted']:g}% with a chance of "
            f"{chance['demanded']:.0%}; it is {chance['found']:.1%}",
        ),
        *((name, _listed(blocks, found["blocks"])) for name, blocks in levels),
        (
            "cost",
            f"{found['more_bytes']:,} bytes more than with every block in int8; a call takes "
            f"{took['chosen']}, {took['int8']} with that, and {took['float32']} in float32",
        ),
    ]


def _listed(blocks: Sequence[str], total: int) -> str:
    return f"{len(blocks)} of {total} blocks{': ' if blocks else ''}{', '.join(blocks)}"


def _blocks(result: Deployment) -> Table:
    shown = result.losses[:SHOWN_BLOCKS]
    title = f"what the answer loses if one block alone is in int8 (worst {len(shown)})"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("block")
    table.add_column("weights", justify="right")
    table.add_column("left, dB", justify="right")
    table.add_column("it is in")
    for loss in shown:
        decibel = "all" if loss.sqnr_db is None else f"{loss.sqnr_db:.1f}"
        table.add_row(loss.block, f"{loss.weights:,}", decibel, loss.precision)
    return table
