"""The command line. Results go to stdout, progress and warnings to stderr."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from onnx2mvit.base.quiet import as_command_line
from onnx2mvit.cli.benchmark import benchmark
from onnx2mvit.cli.console import err, out, print_json, results
from onnx2mvit.cli.convert import convert
from onnx2mvit.cli.deploy import deploy
from onnx2mvit.cli.export import export
from onnx2mvit.cli.options import Patterns
from onnx2mvit.cli.patterns import patterns
from onnx2mvit.cli.verify import verify
from onnx2mvit.errors import Onnx2mvitError, UsageError
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


app.command()(export)


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="An ONNX file.", readable=False)],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    depth: Annotated[int, typer.Option(help="Levels of the tree to show; 0 shows all.", min=0)] = 0,
    graph: Annotated[bool, typer.Option("--graph", help="Show which block reads which.")] = False,
    why: Annotated[str | None, typer.Option(help="Say why a kind is not found where.")] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say why no pattern took what is left, or NODE.")
    ] = False,
    node: Annotated[
        str | None,
        typer.Argument(help="With --explain: a node, an output, a module or a block of the file."),
    ] = None,
    patterns: Patterns = None,
) -> None:
    """Show the tree of blocks in an ONNX file, and what no pattern took. Needs no Keras.

    \b
    Examples:
      onnx2mvit inspect exported_onnx/mobilevit_xs.onnx --depth 2
      onnx2mvit inspect exported_onnx/mobilevit_xs.onnx --json
    """
    from onnx2mvit.api import inspect as run
    from onnx2mvit.cli.look import look
    from onnx2mvit.cli.show import show_network
    from onnx2mvit.matcher.diagnosis import explain_lines, explanations
    from onnx2mvit.reports.report import describe, leftovers

    if graph or why is not None:
        with results():
            print("\n".join(look(file, why, patterns or ())))
        return
    if node is not None and not explain:
        raise UsageError(f"{node!r} is to be explained: add --explain")
    network = run(file, patterns or ())
    with results():
        if explain and as_json:
            found = [each.as_dict() for each in explanations(network, node)]
            print_json(found)
        elif explain:
            for line in explain_lines(network, node):
                out.print(line, markup=False, highlight=False, soft_wrap=True)
        elif as_json:
            described = describe(network) | {"leftovers": leftovers(network)}
            print_json(described)
        else:
            show_network(out, network, depth)


for command in (convert, verify, benchmark, deploy, patterns):
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
