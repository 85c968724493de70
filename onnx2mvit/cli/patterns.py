"""`onnx2mvit patterns`."""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from typing import Annotated

import typer
from rich.table import Table

from onnx2mvit.cli.console import print_json, results, show_lines
from onnx2mvit.cli.options import Debug, Json, Patterns
from onnx2mvit.matcher.pattern import Pattern

PAPER = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


def patterns(
    kind: Annotated[str | None, typer.Argument(help="Show this one, before and after.")] = None,
    files: Patterns = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the patterns, with their papers and what they become; or show one of them.

    Example: onnx2mvit patterns InvertedResidual
    """
    from onnx2mvit.matcher.registry import of_kind
    from onnx2mvit.matcher.user_patterns import all_patterns

    every = all_patterns(files or ())
    one = None if kind is None else of_kind(kind, every)
    with results() as console:
        if one is not None:
            show_lines("\n".join(shown(one)).split("\n"))
        elif as_json:
            print_json([row(pattern) for pattern in every])
        else:
            console.print(table(every))


def row(pattern: Pattern) -> dict[str, str | list[str]]:
    """A pattern as plain values: kind, papers, leaf or block, and what it becomes."""
    return {
        "kind": pattern.kind,
        "papers": papers(pattern),
        "is": "leaf" if pattern.is_leaf else "model" if pattern.nested else "block",
        "becomes": f"{pattern.keras}(…)" if pattern.keras else f"layers.{pattern.layer}",
    }


def papers(pattern: Pattern) -> list[str]:
    """The arXiv numbers in the pattern's docstring, or else in that of its file."""
    module = sys.modules[type(pattern).__module__]
    for text in (type(pattern).__doc__, module.__doc__):
        if found := PAPER.findall(text or ""):
            return list(dict.fromkeys(found))
    return []


def table(every: Iterable[Pattern]) -> Table:
    """All patterns in the order in which they are applied."""
    made = Table(title="Applied in this order; a model is a block that Keras shows as one")
    for title in ("pattern", "is", "becomes", "arXiv"):
        made.add_column(title)
    for told in map(row, every):
        made.add_row(
            *map(str, (told["kind"], told["is"], told["becomes"])), ", ".join(told["papers"])
        )
    return made


def shown(pattern: Pattern) -> Iterator[str]:
    """A pattern's docstring, its ONNX expression and the Keras function that it becomes."""
    from onnx2mvit.emitter import pattern_source

    yield f"{pattern.kind}  ({row(pattern)['is']})"
    yield ""
    yield textwrap.indent(inspect.getdoc(type(pattern)) or "", "    ")
    yield "\nIn ONNX:\n"
    yield _source(type(pattern).onnx)
    yield "In Keras:\n"
    if pattern.keras is not None:
        yield textwrap.indent(pattern_source(pattern), "    ")
        return
    yield f"    layers.{pattern.layer}(…)\n"
    if type(pattern).weights is not Pattern.weights:
        yield _source(type(pattern).weights)


def _source(method: object) -> str:
    assert inspect.isfunction(method)
    return textwrap.indent(textwrap.dedent(inspect.getsource(method)), "    ")
