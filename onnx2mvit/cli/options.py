"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

Patterns = Annotated[
    list[Path] | None,
    typer.Option("--patterns", help="A Python file with patterns of your own; it is executed."),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="Say nothing but errors and warnings (and --json, if there is one).",
    ),
]
