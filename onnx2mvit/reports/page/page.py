"""The page: what the template is given, and the source with its colours."""

from __future__ import annotations

import inspect
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from onnx2mvit.errors import printable
from onnx2mvit.reader.rules import all_rules
from onnx2mvit.reports.page.boxes import detection_pictures
from onnx2mvit.reports.page.diagram import diagram
from onnx2mvit.reports.page.errors import histogram, scale_of
from onnx2mvit.reports.page.evaluation import evaluation_view
from onnx2mvit.reports.page.groups import grouped, sections
from onnx2mvit.reports.page.masks import mask_pictures
from onnx2mvit.reports.page.tree import Row, rows_of
from onnx2mvit.reports.wording import (
    FIXED_BATCH,
    NOTES,
    percent,
    pixels,
    rate,
    swapped,
    tensor,
)
from onnx2mvit.version import __version__

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

COLUMNS = 4
SHOWN_FARTHEST = 10


@dataclass(frozen=True)
class AppliedRule:
    """A rule, what it is for, what it makes of what, and how often it did."""

    name: str
    times: int
    why: str
    change: str


@dataclass(frozen=True)
class Alone:
    """Single operators of one kind for which the same pattern failed in the same way."""

    op: str
    times: int
    module: str
    closest: str | None


def render(report: dict[str, Any], source: str) -> str:
    """The page as HTML, of what report.json holds and of the `source` of the emitted module.

    Everything in it that comes from the ONNX file is text: it is escaped, and characters that
    turn or hide text are replaced. The page has no script and loads nothing.
    """
    verification = report["verification"]
    scale = scale_of(verification) if verification else None
    rows = rows_of(report, scale)
    groups = grouped(rows)
    blocks = verification["blocks"] if verification else []
    farthest = sorted(blocks, key=lambda block: -float(block["max_rel_error"]))
    beyond = [b for b in blocks if verification and b["max_rel_error"] > verification["tolerance"]]
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            verification=verification,
            scale=scale,
            masks=mask_pictures(verification["masks"]) if verification else [],
            detections=detection_pictures(verification["detections"]) if verification else [],
            rows=rows,
            sections=sections(rows, groups),
            compared=len(blocks),
            anchors={row.path: row.anchor for top in rows for row in top.walk()},
            farthest=farthest[:SHOWN_FARTHEST],
            beyond=beyond,
            # One picture for wide windows, and one for narrow ones.
            diagrams=[
                ("wide", diagram(report, groups, scale, COLUMNS)),
                ("narrow", diagram(report, groups, scale, 1)),
            ],
            histogram=histogram([b["max_rel_error"] for b in blocks], scale) if scale else None,
            rules=applied_rules(report["simplification"]["rules"]),
            alone=_alone(report["single_operators"]),
            kinds=_kinds(rows),
            source=_coloured(source),
            source_style=_source_style(),
            note=NOTES.get(report["batch_normalization"], ""),
            fixed_batch=FIXED_BATCH,
            evaluation=evaluation_view(found) if (found := report.get("evaluation")) else None,
            lines=source.count("\n"),
            has_head="\n    num_classes=" in source,
            any_size=None in (report["inputs"][0]["shape"] or ())[1:3],
            photographs=_takes_photographs(report),
            version=__version__,
        )
    )


def render_in_notebook(report: dict[str, Any], folder: str, warnings: Sequence[str]) -> str:
    """The verdict, the tree of blocks and links to what lies in a folder, as a cell shows it.

    Args:
        report: what report.json holds.
        folder: as links have it.
        warnings: lines above the tree.
    """
    scale = scale_of(report["verification"]) if report["verification"] else None
    return (
        _environment()
        .get_template("conversion.html.j2")
        .render(
            report=report,
            verification=report["verification"],
            scale=scale,
            rows=rows_of(report, scale),
            folder=folder,
            warnings=warnings,
        )
    )


def render_evaluation(evaluation: dict[str, Any]) -> str:
    """The page of an evaluation alone, of what evaluation.json holds; it is as `render` has it."""
    page = _environment().get_template("evaluation_page.html.j2")
    return page.render(evaluation=evaluation_view(evaluation), version=__version__)


def applied_rules(fired: dict[str, int]) -> list[AppliedRule]:
    """The rules that found their place, with what their docstrings say of them."""
    texts = {rule.name: inspect.getdoc(type(rule)) or "" for rule in all_rules()}
    found = []
    for name, times in sorted(fired.items(), key=lambda each: -each[1]):
        why, _, change = texts.get(name, "").partition("\n\n")
        found.append(AppliedRule(name, times, " ".join(why.split()), " ".join(change.split())))
    return found


def _alone(operators: list[dict[str, Any]]) -> list[Alone]:
    alike: dict[tuple[str, str | None], list[str]] = {}
    for each in operators:
        alike.setdefault((each["op"], each["closest"]), []).append(each["module"])
    found = [Alone(op, len(at), at[0], closest) for (op, closest), at in alike.items()]
    return sorted(found, key=lambda each: -each.times)


def _takes_photographs(report: dict[str, Any]) -> bool:
    """Whether the network is for one image in colour."""
    first, *others = report["inputs"]
    colours = (first["shape"] or [0])[-1] == 3 and first["dtype"] == "float32"
    return report["preprocessing"] is not None and colours and not others


def _kinds(rows: tuple[Row, ...]) -> list[tuple[str, int]]:
    return Counter(row.kind for row in rows if not row.single).most_common()


@cache  # or every report would compile the templates again
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("onnx2mvit.reports.page", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        error=_error, share=_share, shape=_shape, tensor=tensor, pixels=pixels
    )
    environment.filters.update(share_of=percent, rate=rate, quoted=shlex.quote, swapped=swapped)
    return environment


def _visible(value: object) -> object:
    """Text without what moves the cursor or turns the direction of writing."""
    return printable(value) if type(value) is str else value  # markup is ours


def _error(value: float) -> str:
    return "0" if value == 0 else f"{value:.2e}"


def _share(value: float) -> str:
    """How much of something, in percent or, beyond ten of it, in times."""
    if value > 1e6:
        return "over a million times"
    if value >= 10:
        return f"{value:,.0f} times"
    return f"{value:.0%}" if value >= 0.01 or value == 0 else "under 1%"


def _shape(axes: Sequence[int | None] | None, *, images: bool = False) -> str:
    """The axes, the batch by name; those of `images` may be free as well."""
    if axes is None:
        return "?"
    free = ["batch", *["any" if images else "batch"] * len(axes)]
    named = [free[at] if axis is None else str(axis) for at, axis in enumerate(axes)]
    return "×".join(named) or "scalar"


def _coloured(source: str) -> Markup:
    from markupsafe import Markup
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    text = "\n".join(map(printable, source.split("\n")))
    # It escapes what it colours.
    return Markup(highlight(text, PythonLexer(), HtmlFormatter(nowrap=True)))


def _source_style() -> Markup:
    from markupsafe import Markup
    from pygments.formatters import HtmlFormatter

    def style(name: str) -> str:
        rules = HtmlFormatter(style=name).get_style_defs(".source")  # type: ignore[no-untyped-call]
        return "\n".join(line for line in rules.splitlines() if line.startswith(".source ."))

    dark = f"@media (prefers-color-scheme: dark) {{\n{style('github-dark')}\n}}"
    return Markup(f"{style('default')}\n{dark}")
