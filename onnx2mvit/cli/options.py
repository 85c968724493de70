"""Options that several commands have."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

SEVERAL = "--outputs"

# What a command has to say is in its exception: `ending` looks for this one.
Debug = Annotated[bool, typer.Option("--debug", help="Show the trace of an error as well.")]
Json = Annotated[bool, typer.Option("--json", help="Show it as JSON.")]
Outputs = Annotated[
    list[str] | None,
    typer.Option(
        SEVERAL,
        metavar="NAME…",
        help="Cut the network at these tensors of the file: they are its outputs then.",
    ),
]
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


class Command(TyperCommand):
    """A command one option of which takes several values: `--outputs boxes scores`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads what was typed, the option being repeated for each of its values."""
        return super().parse_args(ctx, [*_repeated(args)])


def _repeated(args: Sequence[str]) -> Iterator[str]:
    """A name after another gets the option; the command's file is none."""
    among = False
    for before, arg in zip(("", *args), args, strict=False):
        if arg.startswith("-"):
            among = arg == SEVERAL
        elif among and before != SEVERAL and not Path(arg).is_file():
            yield SEVERAL
        yield arg
