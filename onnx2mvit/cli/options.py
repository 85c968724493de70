"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

# What a command has to say is in its exception: `ending` looks for this one.
Debug = Annotated[bool, typer.Option("--debug", help="Show the trace of an error as well.")]
Json = Annotated[bool, typer.Option("--json", help="Show it as JSON.")]
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
TrustModule = Annotated[
    bool,
    typer.Option(
        "--trust-module",
        help="Run the NAME.py beside a NAME.keras, which a model for any size needs.",
    ),
]
