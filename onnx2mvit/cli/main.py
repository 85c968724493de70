"""The command line. Results go to stdout, progress and warnings to stderr."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from onnx2mvit.base.quiet import as_command_line
from onnx2mvit.base.versions import versions
from onnx2mvit.cli.benchmark import benchmark
from onnx2mvit.cli.console import show_lines
from onnx2mvit.cli.convert import convert
from onnx2mvit.cli.deploy import deploy
from onnx2mvit.cli.evaluate import evaluate
from onnx2mvit.cli.export import export
from onnx2mvit.cli.inspect import inspect
from onnx2mvit.cli.narrow_help import Group
from onnx2mvit.cli.options import Command
from onnx2mvit.cli.patterns import patterns
from onnx2mvit.cli.publish import publish
from onnx2mvit.cli.verify import verify
from onnx2mvit.ending import INTERRUPTED, ending

app = typer.Typer(
    cls=Group,
    help="Lift exported ONNX graphs of MobileViT back into idiomatic Keras 3 models.",
    epilog="Exit codes: 0 done, 1 hub, disk or other outside failure, 2 usage, 3 not a usable "
    "ONNX file, 4 something in it is not supported, 5 numbers differ, 6 an optional part is "
    "not installed, 130 interrupted.",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, help="Show all versions and stop.")
    ] = False,
) -> None:
    """Runs before every command."""
    if version:
        show_lines([f"{name} {number}" for name, number in versions().items()])
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


for command in (export, inspect, convert, verify, evaluate, benchmark, deploy, publish, patterns):
    app.command(cls=Command)(command)


def main() -> None:
    """Runs the command line; whatever goes wrong is one line and a code."""
    with ending(), as_command_line():
        code = app(prog_name="onnx2mvit", standalone_mode=False)
        if code == INTERRUPTED:  # Typer's word for an interrupt
            raise KeyboardInterrupt
    sys.exit(code or 0)
