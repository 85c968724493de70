"""`onnx2mvit export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from onnx2mvit.cli.console import live_progress, results, show_lines, warn
from onnx2mvit.cli.options import WEIGHTS, Debug, FoldBn, Quiet, Seed
from onnx2mvit.ir.image_size import parse_size


def _names_from(incomplete: str) -> list[str]:
    """Those that begin so, for a shell that completes them."""
    from onnx2mvit import models

    return models.list(f"{incomplete}*")


def _list_models(wanted: bool) -> None:
    if wanted:
        from onnx2mvit import models

        show_lines(models.list())
        raise typer.Exit


def export(
    model: Annotated[
        str,
        typer.Argument(
            help="A name of --list (mobilevit_xs, resnet_50, …), a Hugging Face repository, or a "
            "checkpoint FILE.pt of a network in --list",
            autocompletion=_names_from,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file; exported_onnx/MODEL.onnx by default."),
    ] = None,
    weights: Annotated[str, WEIGHTS] = "hub",
    seed: Seed = 0,
    exporter: Annotated[
        Literal["dynamo", "legacy"], typer.Option(help="Which of torch's.")
    ] = "dynamo",
    opset: Annotated[
        int | None, typer.Option(help="By default 20 (dynamo) or 17 (legacy).")
    ] = None,
    image_size: Annotated[
        str | None,
        typer.Option(help="Pixels, or HEIGHTxWIDTH; by default as the network was published."),
    ] = None,
    fold_bn: FoldBn = False,
    static_batch: Annotated[
        bool, typer.Option("--static-batch", help="Fix the batch to 1 instead of leaving it free.")
    ] = False,
    names: Annotated[
        bool,
        typer.Option("--list", callback=_list_models, is_eager=True, help="Show all names, stop."),
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Export a published PyTorch network to ONNX, and check the file against torch.

    \b
    Examples:
      onnx2mvit export --list
      onnx2mvit export mobilevit_xs --weights random
      onnx2mvit export efficientnet_lite0 --weights pip
      onnx2mvit export mobilevit_xxs --weights random --image-size 192x256
    """
    from onnx2mvit.cli.show import exported_lines
    from onnx2mvit.exporter import export as run

    size = parse_size(image_size) if image_size is not None else None
    # torch's exporters print from C++ and are muted, which would freeze a live line.
    with live_progress(live=False, quiet=quiet) as progress:
        result = run(
            model,
            output,
            weights=weights,
            seed=seed,
            exporter=exporter,
            opset=opset,
            image_size=size,
            fold_bn=fold_bn,
            dynamic_batch=not static_batch,
            progress=progress,
            warn=warn,
        )
    with results(quiet) as console:
        for line in exported_lines(result):
            console.print(line, soft_wrap=True)
