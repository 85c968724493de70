"""`onnx2mvit evaluate`."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from onnx2mvit.cli.console import live_progress, print_json, results, warn
from onnx2mvit.cli.options import (
    Bgr,
    Crop,
    Debug,
    Interpolation,
    Json,
    Mean,
    PreprocessingFile,
    Quiet,
    Scale,
    Std,
    TrustModule,
    how_given,
)

SHOWN = 10  # images of each kind


def evaluate(
    targets: Annotated[
        list[Path],
        typer.Argument(
            metavar="TARGET…",
            help="The ONNX file, what `convert` wrote, LiteRT files, OpenVINO's "
            ".xml: forms of one network.",
        ),
    ],
    data: Annotated[
        Path,
        typer.Option(
            help="A folder with a folder of images for each class, or with images and a CSV file "
            "of them and their classes."
        ),
    ],
    labels: Annotated[
        Path | None,
        typer.Option(
            help="That CSV file, or the names of the network's classes, one a line; needed where "
            "the folder has not all of them."
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="So many images, evenly out of all.", min=1)
    ] = None,
    batch: Annotated[int, typer.Option(help="Images at a time.", min=1)] = 32,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="local: this machine; ray: Ray Data, also on a cluster."),
    ] = "local",
    workers: Annotated[
        int | None,
        typer.Option(help="Processes that read images, or do all of it with ray; 0: none.", min=0),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="A folder for evaluation.json and .html; by default evaluated/NAME, or, where a "
            "target has a report.html, a section of that.",
        ),
    ] = None,
    preprocessing: PreprocessingFile = None,
    mean: Mean = None,
    std: Std = None,
    scale: Scale = None,
    bgr: Bgr = None,
    crop: Crop = None,
    interpolation: Interpolation = None,
    trust_module: TrustModule = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Count how many photographs networks get right, and on which they differ.

    What was interrupted goes on where it was.

    \b
    Examples:
      onnx2mvit evaluate keras_out/mobilevit_xs --data imagenet/val
      onnx2mvit evaluate net.onnx keras_out/net net.tflite --data imagenet/val
      onnx2mvit evaluate net.onnx --data photos --labels names.txt --limit 1000
      onnx2mvit evaluate net.onnx --data photos --labels photos.csv --json
      onnx2mvit evaluate net.onnx --data imagenet/val --engine ray
    """
    from onnx2mvit.evaluation import evaluate as run

    gc.enable()  # other commands end before there is much of it
    how = how_given(preprocessing, mean, std, scale, bgr, crop, interpolation)
    with live_progress(quiet=quiet) as progress:
        result = run(
            targets,
            data,
            labels=labels,
            limit=limit,
            batch=batch,
            engine=engine,
            workers=workers,
            preprocessing=how,
            output=output,
            trust_module=trust_module,
            progress=progress,
        )
    for warning in result.warnings:
        warn(warning)
    with results(quiet) as console:
        if as_json:
            print_json(result.report)
        else:
            show(console, result.report)
            for page in result.pages:
                console.print(f"look at {page}", soft_wrap=True)


def show(console: Console, report: dict[str, Any]) -> None:
    """The figures as a table, and the images on which the networks differ."""
    from onnx2mvit.reports.wording import percent, rate

    targets, data = report["targets"], report["data"]
    table = Table(title=f"{report['images']:,} images of {data['folder']}")
    for title in ("network", "runs on"):
        table.add_column(title, overflow="fold")
    for title in ("top-1", "top-5", "agrees", "differ", "images/s"):
        table.add_column(title, justify="right")
    for each in targets:
        table.add_row(
            each["name"],
            each["runtime"],
            percent(each["top1"]),
            percent(each["top5"]),
            percent(each["agreement"]),
            "–" if each["differ"] is None else f"{each['differ']:,}",
            rate(each["images_per_second"]),
        )
    console.print(table)
    for line in _lines(report):
        console.print(line, soft_wrap=True)


def _lines(report: dict[str, Any]) -> Iterator[str]:
    from onnx2mvit.reports.wording import pixels, rate

    targets = report["targets"]
    for how in dict.fromkeys(pixels(each["preprocessing"]) for each in targets):
        yield f"pixels   {how}"
    if any("random" in (each["weights"] or "") for each in targets):
        yield "weights  random: they classify nothing"
    yield (
        f"speed    {rate(report['images_per_second'])} images/s with all that is around the "
        f"networks, {report['seconds']:,.0f} s"
    )
    if len(targets) > 1:
        yield f"agrees   with {report['reference']}, in the first answer"
    differing = report["differing"]
    for each in differing["images"][:SHOWN]:
        answers = ", ".join(
            f"{target['name']} {answer}"
            for target, answer in zip(targets, each["answers"], strict=True)
        )
        yield f"differ   {each['image']} ({each['class']}): {answers}"
    if differing["count"] > SHOWN:
        yield f"         … and {differing['count'] - SHOWN:,} more"
