"""The tree of blocks as rows, each with its size and its error."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from onnx2mvit.matcher.registry import builtin_patterns
from onnx2mvit.reports.page.errors import Scale
from onnx2mvit.reports.wording import shown_params


@dataclass(frozen=True)
class Row:
    """A block of the tree. `error` is None where it was not compared by itself."""

    anchor: str
    kind: str
    name: str
    hyperparameters: str
    shape: tuple[int | None, ...] | None
    parameters: int
    path: str
    error: float | None
    colour: str
    single: bool
    children: tuple[Row, ...]

    def walk(self) -> Iterator[Row]:
        """This row and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


def rows_of(report: dict[str, Any], scale: Scale | None) -> tuple[Row, ...]:
    """The blocks of a report, with the errors that its verification has for them."""
    verification = report["verification"]
    errors = {
        block["path"]: block["max_rel_error"] for block in (verification or {}).get("blocks", ())
    }
    usual = {pattern.kind: pattern.usual() for pattern in builtin_patterns()}
    single = {each["path"] for each in report["single_operators"]}

    def row(block: dict[str, Any], anchor: str, outer: str) -> Row:
        error = errors.get(block["path"])
        shape = block["output_shape"]
        name = block["name"]
        return Row(
            anchor,
            block["kind"],
            name.removeprefix(outer + ".") if outer else name,
            shown_params(block["params"], usual.get(block["kind"], {})),
            None if shape is None else tuple(shape),
            block["parameters"],
            block["path"],
            error,
            "en" if scale is None else scale.colour(error),
            not outer and block["path"] in single,
            tuple(
                row(child, f"{anchor}-{number}", name)
                for number, child in enumerate(block["children"])
            ),
        )

    return tuple(row(block, f"b{number}", "") for number, block in enumerate(report["blocks"]))
