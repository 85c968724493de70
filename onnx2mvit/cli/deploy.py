"""`onnx2mvit deploy`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onnx2mvit.cli.console import live_progress, print_json, results
from onnx2mvit.cli.options import DataFormat, Debug, Deployable, Json, Precision, Quiet, TrustModule
from onnx2mvit.errors import VerificationError
from onnx2mvit.ir.image_size import parse_size


def deploy(
    target: Annotated[
        Path, typer.Argument(help="What `convert` wrote: a folder or a .keras file.")
    ],
    format_: Annotated[Deployable, typer.Option("--format", help="What to write.")] = "litert",
    precision: Precision = "float32",
    data_format: Annotated[
        DataFormat, typer.Option(help="Where onnx and openvino have the channels of images.")
    ] = "channels_last",
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="A folder of images on which int8 measures what each block loses, and by which a "
            "LiteRT file's weights are rounded."
        ),
    ] = None,
    agreement: Annotated[
        float | None,
        typer.Option(
            help="The share of answers that int8 is to keep, as 0.99, on other images as well: "
            "each block is in float32, in int8 or, for LiteRT, in static int8, as is fastest so."
        ),
    ] = None,
    holdout: Annotated[
        Path | None,
        typer.Option(
            help="A folder of other images, to prove --agreement on; else every second one of "
            "--calibration is kept aside for that."
        ),
    ] = None,
    float32: Annotated[
        list[str] | None,
        typer.Option(
            help="A block that int8 leaves in float32; may be given again. `none` puts all in int8."
        ),
    ] = None,
    aware: Annotated[
        bool,
        typer.Option(
            "--aware",
            help="The model was trained under `quantization_aware`: compare with what it answers "
            "so. All blocks but those of --float32 are in int8.",
        ),
    ] = False,
    images: Annotated[
        Path | None,
        typer.Option(help="Compare on the images of this folder; else those of --calibration."),
    ] = None,
    inputs: Annotated[
        int | None,
        typer.Option(help="How many images to make; by default 16, 32 or, for int8, 128.", min=1),
    ] = None,
    image_size: Annotated[
        str | None,
        typer.Option(help="Pixels, or HEIGHTxWIDTH; by default that of the model."),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            help="Images at a time; by default 1 for litert, any number else. openvino is up to a "
            "tenth faster for one number.",
            min=1,
        ),
    ] = None,
    onnx: Annotated[
        Path | None,
        typer.Option(help="The ONNX file to compare with; looked for in the usual places."),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Names of the classes, one a line, for the metadata.")
    ] = None,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The folder in which NAME_FORMAT_PRECISION/ goes."),
    ] = Path("deployed"),
    trust_module: TrustModule = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace what was made of another target of the same name."),
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a converted model as a file for phones or servers, and compare its answers.

    \b
    Examples:
      onnx2mvit deploy keras_out/mobilevit_xs
      onnx2mvit deploy keras_out/mobilevit_xs --precision int8
      onnx2mvit deploy xs.keras --precision int8 --images photos --agreement 0.99
      onnx2mvit deploy keras_out/mobilevit_xs --format saved_model
      onnx2mvit deploy keras_out/mobilevit_xs --format openvino
    """
    from onnx2mvit.cli.show_deployment import show_deployment
    from onnx2mvit.deployment import deploy as run

    size = parse_size(image_size) if image_size is not None else None
    with live_progress(quiet=quiet) as progress:
        result = run(
            target,
            output,
            format=format_,
            precision=precision,
            data_format=data_format,
            image_size=size,
            batch=batch,
            calibration=calibration,
            agreement=agreement,
            holdout=holdout,
            float32=[] if float32 == ["none"] else float32,
            aware=aware,
            images=images,
            inputs=inputs,
            labels=labels,
            onnx=onnx,
            trust_module=trust_module,
            force=force,
            progress=progress,
        )
    with results(quiet) as console:
        if as_json:
            print_json(result.report)
        else:
            show_deployment(console, result)
    if not result.passed:
        differ = f"{result.file} and {result.comparison.against} differ"
        words = result.report.get("agreement", {}).get("words", differ)
        raise VerificationError(f"{words}; see {result.folder}/deploy.json")
