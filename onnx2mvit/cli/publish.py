"""`onnx2mvit publish`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onnx2mvit.cli.console import live_progress, print_json, results
from onnx2mvit.cli.options import Debug, Json, Precision, Publishable, Quiet


def publish(
    target: Annotated[Path, typer.Argument(help="The folder that `convert` wrote.")],
    to: Annotated[
        str,
        typer.Option(
            help="A folder, hf://USER/NAME or kaggle://USER/MODEL/FRAMEWORK/VARIATION.",
        ),
    ],
    format_: Annotated[Publishable, typer.Option("--format", help="What to publish.")] = "keras",
    precision: Precision = "float32",
    license_: Annotated[
        str | None,
        typer.Option("--license", help="Of the weights, as the hub calls it: apache-2.0"),
    ] = None,
    weights_from: Annotated[
        str | None, typer.Option(help="Who trained the weights, on what: an address or words.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="For yourself alone.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be there, and write nothing.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Put a converted network where others find it, with a model card from its report.

    Uploads take your own token of the hub, and happen for an address alone.

    \b
    Examples:
      onnx2mvit publish keras_out/mobilevit_xs --to published
      onnx2mvit publish keras_out/mobilevit_xs --to hf://me/mobilevit_xs --dry-run
      onnx2mvit publish keras_out/net --to hf://me/net --private
      onnx2mvit publish keras_out/net --to litert --format litert
      onnx2mvit publish keras_out/net --to kaggle://me/net/keras/a --private
    """
    from onnx2mvit.publishing import publish as run

    with live_progress(quiet=quiet) as progress:
        result = run(
            target,
            to,
            format=format_,
            precision=precision,
            license=license_,
            weights_from=weights_from,
            private=private,
            dry_run=dry_run,
            progress=progress,
        )
    with results(quiet) as console:
        if as_json:
            print_json(result.as_dict())
            return
        if dry_run:
            console.print(result.card, markup=False, highlight=False, soft_wrap=True)
        for name, size in result.files.items():
            console.print(f"{size:>12,} bytes  {name}", markup=False, highlight=False)
        done = "published at" if result.published else "would be published at"
        console.print(f"{done} {result.url}", markup=False, highlight=False, soft_wrap=True)
