"""`onnx2mvit convert`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnx2mvit.cli.console import live_progress, print_json, results, warn
from onnx2mvit.cli.options import (
    WEIGHTS,
    Bgr,
    Crop,
    Debug,
    FoldBn,
    Interpolation,
    Json,
    Mean,
    Outputs,
    Patterns,
    PreprocessingFile,
    Quiet,
    Scale,
    Seed,
    Std,
    how_given,
)
from onnx2mvit.errors import UsageError, VerificationError
from onnx2mvit.ir.image_size import parse_image_size

if TYPE_CHECKING:
    from onnx2mvit.conversion import Conversion


def convert(
    targets: Annotated[
        list[str],
        typer.Argument(
            help="ONNX files, or folders of them; or what is exported first: a name of "
            "`export --list`, a Hugging Face repository, or a checkpoint FILE.pt."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder in which NAME/ is written.")
    ] = Path("keras_out"),
    name: Annotated[
        str | None, typer.Option(help="By default the file's name, made an identifier.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Compare with onnxruntime.")
    ] = True,
    images: Annotated[
        Path | None, typer.Option(help="Compare on the images of this folder instead.")
    ] = None,
    inputs: Annotated[int, typer.Option(help="How many images to make.", min=1)] = 8,
    image_size: Annotated[
        str | None,
        typer.Option(
            help="Pixels, HEIGHTxWIDTH, or any for one model for all sizes (with two layers of "
            "its own); by default what the file was traced at."
        ),
    ] = None,
    head: Annotated[
        str, typer.Option(help="keep the classifier, none, or so many new classes.")
    ] = "keep",
    outputs: Outputs = None,
    patterns: Patterns = None,
    merge_branches: Annotated[
        bool,
        typer.Option(
            "--merge-branches",
            help="Make one convolution of every sum of branches (RepVGG, MobileOne, FastViT, "
            "RepViT): the form for inference.",
        ),
    ] = False,
    hard_activations: Annotated[
        bool,
        typer.Option(
            "--hard-activations",
            help="Put hard swish in the place of SiLU, for phones: another function, to be "
            "trained further (onnx2mvit.distill).",
        ),
    ] = False,
    blocks: Annotated[
        bool, typer.Option("--blocks", help="Write NAME.blocks.onnx: each block a function.")
    ] = False,
    preprocessing: PreprocessingFile = None,
    mean: Mean = None,
    std: Std = None,
    scale: Scale = None,
    bgr: Bgr = None,
    crop: Crop = None,
    interpolation: Interpolation = None,
    weights: Annotated[str | None, WEIGHTS] = None,
    seed: Seed = 0,
    fold_bn: FoldBn = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Convert an ONNX file to a Keras model, with its source, its weights and a proof.

    Another target is exported first, to exported_onnx/NAME.onnx, as `export` does it, whose options
    for that are --weights, --seed, --fold-bn and --image-size.

    Of several, what fails is said, the others are converted, a table shows all of them, and the
    exit code is the largest.

    \b
    Examples:
      onnx2mvit convert exported_onnx/mobilevit_xs.onnx
      onnx2mvit convert exports/ another.onnx --quiet
      onnx2mvit convert mobilevit_xs --weights random
      onnx2mvit convert apple/mobilevit-small
      onnx2mvit convert checkpoints/mobilevitv2-0.5.pt --head 10
      onnx2mvit convert exported_onnx/mobilevit_xs.onnx --image-size 192x256
      onnx2mvit convert exported_onnx/mobilevit_xs.onnx --head 10 --name ten
      onnx2mvit convert exported_onnx/mobilevit_xs.onnx --quiet --json
      onnx2mvit convert detector.onnx --outputs boxes scores
      onnx2mvit convert repvgg_a0.onnx --merge-branches
      onnx2mvit convert mobilevit_xs.onnx --hard-activations --name xs_hard
      onnx2mvit convert mobilevit_xs.onnx --preprocessing preprocessor_config.json
      onnx2mvit convert net.onnx --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5 --crop 0.875
    """
    from onnx2mvit.api import convert as run
    from onnx2mvit.cli.convert_many import SomeFailedError, convert_each, expanded, show_table
    from onnx2mvit.cli.show import show_conversion
    from onnx2mvit.lifter.head import parse_head
    from onnx2mvit.target import is_network

    size = parse_image_size(image_size) if image_size is not None else None
    how = how_given(preprocessing, mean, std, scale, bgr, crop, interpolation)
    try:
        wanted = expanded(targets)
    except UsageError as error:
        if images is None:
            raise
        raise UsageError(f"{error} (--images takes one folder: what follows is a target)") from None
    if name is not None and len(wanted) > 1:
        raise UsageError("--name is for one file")

    def one(target: str) -> Conversion:
        with live_progress(live=not is_network(target), quiet=quiet) as progress:
            result = run(
                target,
                output,
                name=name,
                verify=verify,
                images=images,
                inputs=inputs,
                image_size=size,
                head=parse_head(head),
                patterns=patterns or (),
                outputs=outputs or (),
                merge_branches=merge_branches,
                hard_activations=hard_activations,
                blocks=blocks,
                preprocessing=how,
                weights=weights,
                seed=seed,
                fold_bn=fold_bn,
                progress=progress,
                warn=warn,
            )
        for warning in result.warnings:
            warn(warning)
        return result

    if len(wanted) > 1:
        rows = list(convert_each(wanted, one, quiet))
        with results(quiet) as console:
            if as_json:
                print_json([row.as_dict() for row in rows])
            else:
                show_table(console, rows)
        if any(row.code for row in rows):
            raise SomeFailedError(rows)
        return
    result = one(*wanted)
    with results(quiet) as console:
        if as_json:
            print_json(result.report)
        else:
            show_conversion(console, result)
    if result.passed is False:
        raise VerificationError(f"Keras and onnxruntime differ; see {result.folder}/report.html")
