"""The command line. Results go to stdout, progress and warnings to stderr."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from onnx2mvit.base.quiet import as_command_line
from onnx2mvit.cli.benchmark import benchmark
from onnx2mvit.cli.console import err, out
from onnx2mvit.cli.convert import convert
from onnx2mvit.cli.deploy import deploy
from onnx2mvit.cli.export import export
from onnx2mvit.cli.inspect import inspect
from onnx2mvit.cli.patterns import patterns
from onnx2mvit.cli.verify import verify
from onnx2mvit.errors import Onnx2mvitError
from onnx2mvit.version import __version__

app = typer.Typer(
    help="Lift exported ONNX graphs of MobileViT back into idiomatic Keras 3 models.",
    epilog="Exit codes: 0 done, 1 hub, disk or other outside failure, 2 usage, 3 not a usable "
    "ONNX file, 4 something in it is not supported, 5 numbers differ, 6 an optional part is "
    "not installed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        out.print(__version__, highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and stop."
        ),
    ] = False,
) -> None:
    """Runs before every command."""


for command in (export, inspect, convert, verify, benchmark, deploy, patterns):
    app.command()(command)


def main() -> None:
    """Runs the command line; every error that is meant for users is one message and a code."""
    try:
        with as_command_line():
            app()
    except Onnx2mvitError as error:
        err.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        err.print("interrupted")
        sys.exit(130)


if __name__ == "__main__":
    main()
