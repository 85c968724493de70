"""`onnx2mvit verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onnx2mvit.cli.console import live_progress, print_json, results
from onnx2mvit.cli.options import Debug, Json, Patterns, Quiet, TrustModule
from onnx2mvit.errors import VerificationError


def verify(
    file: Annotated[Path, typer.Argument(help="The ONNX file.", readable=False)],
    target: Annotated[
        Path, typer.Argument(help="What `convert` wrote: a folder or a .keras file.")
    ],
    images: Annotated[
        Path | None, typer.Option(help="A folder of images; structured ones are made without it.")
    ] = None,
    inputs: Annotated[int, typer.Option(help="How many images to make.", min=1)] = 8,
    as_json: Json = False,
    patterns: Patterns = None,
    trust_module: TrustModule = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compare a converted model with its ONNX file again, block by block.

    \b
    Examples:
      onnx2mvit verify exported_onnx/mobilevit_xs.onnx keras_out/mobilevit_xs
    """
    from onnx2mvit.api import verify as run
    from onnx2mvit.cli.show import show_verification
    from onnx2mvit.verifier import repro_folder

    with live_progress(quiet=quiet) as progress:
        result = run(
            file,
            target,
            images=images,
            inputs=inputs,
            patterns=patterns or (),
            trust_module=trust_module,
            progress=progress,
        )
    with results(quiet) as console:
        if as_json:
            print_json(result.as_dict())
        else:
            show_verification(console, result.as_dict())
    if not result.passed:
        script = repro_folder(target) / "repro.py"
        repro = f"; run {script} to see it" if result.begins and script.exists() else ""
        raise VerificationError(f"{target} and {file} differ{repro}")
