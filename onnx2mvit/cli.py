"""The command line. Results go to stdout, progress and warnings to stderr."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnx2mvit.commands.benchmark import benchmark
from onnx2mvit.commands.deploy import deploy
from onnx2mvit.commands.patterns import patterns
from onnx2mvit.console import err, live_progress, out, results, warn
from onnx2mvit.errors import Onnx2mvitError, UsageError, VerificationError
from onnx2mvit.sizes import parse_image_size, parse_size
from onnx2mvit.version import __version__

if TYPE_CHECKING:
    from onnx2mvit.verification import Verification

app = typer.Typer(
    help="Lift exported ONNX graphs of MobileViT back into idiomatic Keras 3 models.",
    epilog="Exit codes: 0 done, 1 hub, disk or other outside failure, 2 usage, 3 not a usable "
    "ONNX file, 4 something in it is not supported, 5 numbers differ, 6 an optional part is "
    "not installed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


Patterns = Annotated[
    list[Path] | None,
    typer.Option("--patterns", help="A Python file with patterns of your own; it is executed."),
]


class Exporter(StrEnum):
    """torch's two ONNX exporters."""

    DYNAMO = "dynamo"
    LEGACY = "legacy"


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


def _list_models(wanted: bool) -> None:
    if wanted:
        from onnx2mvit.export import names

        out.print("\n".join(names()), highlight=False)
        raise typer.Exit


@app.command()
def export(
    model: Annotated[
        str,
        typer.Argument(
            help="A name of --list (mobilevit_xs, resnet_50, …), or a Hugging Face repository"
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file; exported_onnx/MODEL.onnx by default."),
    ] = None,
    weights: Annotated[
        str,
        typer.Option(
            help="hub: the published ones; random: seeded, for tests; auto: hub, or random if no "
            "hub answers; FILE.pt: a checkpoint of transformers, or of Apple's ml-cvnets."
        ),
    ] = "hub",
    seed: Annotated[int, typer.Option(help="For random weights.")] = 0,
    exporter: Annotated[Exporter, typer.Option(help="Which of torch's.")] = Exporter.DYNAMO,
    opset: Annotated[
        int | None, typer.Option(help="By default 20 (dynamo) or 17 (legacy).")
    ] = None,
    image_size: Annotated[
        str | None,
        typer.Option(help="Pixels, or HEIGHTxWIDTH; by default as the network was published."),
    ] = None,
    fold_bn: Annotated[
        bool, typer.Option("--fold-bn", help="Fold batch normalization into the convolutions.")
    ] = False,
    static_batch: Annotated[
        bool, typer.Option("--static-batch", help="Fix the batch to 1 instead of leaving it free.")
    ] = False,
    names: Annotated[
        bool,
        typer.Option("--list", callback=_list_models, is_eager=True, help="Show all names, stop."),
    ] = False,
) -> None:
    """Export a published PyTorch network to ONNX, and check the file against torch.

    \b
    Examples:
      onnx2mvit export --list
      onnx2mvit export mobilevit_xs --weights random
      onnx2mvit export mobilevit_xxs --weights random --image-size 192x256
    """
    from onnx2mvit.export import export as run

    size = parse_size(image_size) if image_size is not None else None
    target = output or Path("exported_onnx") / f"{model.rpartition('/')[2]}.onnx"
    # torch's exporters print from C++ and are muted, which would freeze a live line.
    with live_progress(live=False) as progress:
        result = run(
            model,
            target,
            weights=weights,
            seed=seed,
            exporter=exporter.value,
            opset=opset,
            image_size=size,
            fold_bn=fold_bn,
            dynamic_batch=not static_batch,
            progress=progress,
            warn=warn,
        )
    out.print(
        f"{result.path}: {result.nodes} nodes, opset {result.opset}, "
        f"{result.parameters:,} parameters, weights: {result.weights}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    out.print(
        f"onnxruntime agrees with torch to {result.max_abs_error:.1e} "
        f"at |logit| {result.max_abs_logit:.1f}",
        highlight=False,
    )


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
    from onnx2mvit.conversion import inspect as run
    from onnx2mvit.explain import explain_lines, explanations
    from onnx2mvit.look import look
    from onnx2mvit.report import describe, leftovers
    from onnx2mvit.show import show_network

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
            print(json.dumps(found, indent=2, ensure_ascii=False))
        elif explain:
            for line in explain_lines(network, node):
                out.print(line, markup=False, highlight=False, soft_wrap=True)
        elif as_json:
            described = describe(network) | {"leftovers": leftovers(network)}
            print(json.dumps(described, indent=2, ensure_ascii=False))
        else:
            show_network(out, network, depth)


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="An ONNX file.", readable=False)],
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
    patterns: Patterns = None,
    blocks: Annotated[
        bool, typer.Option("--blocks", help="Write NAME.blocks.onnx: each block a function.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Show report.json instead.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Say nothing but errors (and --json).")
    ] = False,
) -> None:
    """Convert an ONNX file to a Keras model, with its source, its weights and a proof.

    \b
    Examples:
      onnx2mvit convert exported_onnx/mobilevit_xs.onnx
      onnx2mvit convert exported_onnx/mobilevit_xs.onnx --image-size 192x256
      onnx2mvit convert exported_onnx/mobilevit_xs.onnx --head 10 --name ten
      onnx2mvit convert exported_onnx/mobilevit_xs.onnx --quiet --json
    """
    from onnx2mvit.conversion import convert as run
    from onnx2mvit.head import parse_head
    from onnx2mvit.show import show_conversion

    size = parse_image_size(image_size) if image_size is not None else None
    with live_progress(quiet=quiet) as progress:
        result = run(
            file,
            output,
            name=name,
            verify=verify,
            images=images,
            image_size=size,
            head=parse_head(head),
            patterns=patterns or (),
            blocks=blocks,
            progress=progress,
        )
    for warning in [] if quiet else result.warnings():
        warn(warning)
    with results():
        if as_json:
            print(json.dumps(result.report, indent=2, ensure_ascii=False))
        elif not quiet:
            show_conversion(out, result)
    if result.passed is False:
        raise VerificationError(f"Keras and onnxruntime differ; see {result.folder}/report.html")


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="The ONNX file.", readable=False)],
    target: Annotated[
        Path, typer.Argument(help="What `convert` wrote: a folder or a .keras file.")
    ],
    images: Annotated[
        Path | None, typer.Option(help="A folder of images; structured ones are made without it.")
    ] = None,
    inputs: Annotated[int, typer.Option(help="How many images to make.", min=1)] = 8,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    patterns: Patterns = None,
) -> None:
    """Compare a converted model with its ONNX file again, block by block.

    \b
    Examples:
      onnx2mvit verify exported_onnx/mobilevit_xs.onnx keras_out/mobilevit_xs
    """
    from onnx2mvit.conversion import verify as run
    from onnx2mvit.repro import repro_folder
    from onnx2mvit.show import show_verification

    with live_progress() as progress:
        result: Verification = run(
            file, target, images=images, inputs=inputs, patterns=patterns or (), progress=progress
        )
    with results():
        if as_json:
            print(json.dumps(result.as_dict(), indent=2, ensure_ascii=False))
        else:
            show_verification(out, result.as_dict())
    if not result.passed:
        script = repro_folder(target) / "repro.py"
        repro = f"; run {script} to see it" if result.begins and script.exists() else ""
        raise VerificationError(f"{target} and {file} differ{repro}")


app.command()(benchmark)
app.command()(deploy)
app.command()(patterns)


def main() -> None:
    """Runs the command line; every error that is meant for users is one message and a code."""
    try:
        app()
    except Onnx2mvitError as error:
        err.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        err.print("interrupted")
        sys.exit(130)


if __name__ == "__main__":
    main()
