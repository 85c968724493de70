"""What is wanted of a deployment, checked where it comes in, and the model that it is wanted of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx2mvit.base.optional import import_tensorflow, optional, require
from onnx2mvit.base.user_files import seen_from
from onnx2mvit.builder import at_size, image_input, load
from onnx2mvit.deployment.interface import DATA_FORMATS
from onnx2mvit.errors import UsageError
from onnx2mvit.ir.image_size import ImageSize
from onnx2mvit.reports import report_beside

if TYPE_CHECKING:
    import keras

MARK = "deploy.json"
FORMATS = {
    "litert": ".tflite",
    "saved_model": "",
    "onnx": ".onnx",
    "openvino": ".xml",
    "keras_hub": "",
}
FROM_TENSORFLOW = ("litert", "saved_model")
# What is needed beside Keras.
PACKAGES = {
    "litert": ("tensorflow", "ai_edge_litert"),
    "saved_model": ("tensorflow",),
    "onnx": (),
    "openvino": ("openvino",),
    "keras_hub": ("keras_hub",),
}
QUANTIZERS = {"litert": "ai_edge_quantizer.quantizer", "openvino": "nncf"}
KERAS_LAYOUT = (*FROM_TENSORFLOW, "keras_hub")
PRECISIONS = ("float32", "float16", "bfloat16", "int8")
REDUCED = {"litert": ("float16", "int8"), "openvino": ("bfloat16", "int8")}


def check(format_: str, precision: str, data_format: str, size: ImageSize | None) -> None:
    """Refuses what makes no sense, before anything long is done.

    Raises:
        UsageError: it makes none.
    """
    if format_ not in FORMATS:
        raise UsageError(f"format {format_!r}: choose from {', '.join(FORMATS)}")
    if precision not in PRECISIONS:
        raise UsageError(f"precision {precision!r}: choose from {', '.join(PRECISIONS)}")
    possible = ("float32", *REDUCED.get(format_, ()))
    if precision not in possible:
        those = " and ".join(each for each, kinds in REDUCED.items() if precision in kinds)
        raise UsageError(f"{precision} is for {those}; {format_} has {', '.join(possible)}")
    if data_format not in DATA_FORMATS:
        raise UsageError(f"data format {data_format!r}: choose from {', '.join(DATA_FORMATS)}")
    if data_format == "channels_first" and format_ in KERAS_LAYOUT:
        raise UsageError(f"{format_} has images with their channels last, as Keras has them")
    if size == "any":
        raise UsageError("a deployed file takes one size: give image_size as (height, width)")


def check_agreement(
    agreement: float | None, precision: str, holdout: str | Path | None, *folders: str | Path | None
) -> None:
    """Refuses a target that makes no sense; `folders` are those it may be searched on.

    Raises:
        UsageError: it makes none.
    """
    if agreement is None:
        if holdout is not None:
            raise UsageError("--holdout proves what --agreement asks for: give both")
        return
    if not 0 < agreement <= 1:
        raise UsageError(f"--agreement {agreement:g}: give a share of answers, as 0.99")
    if precision != "int8":
        raise UsageError(f"--agreement is for --precision int8, not {precision}")
    given = [folder for folder in folders if folder is not None]
    if not given:
        raise UsageError("--agreement is searched on images: give --calibration FOLDER")
    if len(given) > 1:
        raise UsageError(
            "--agreement compares on --holdout, or on a part of --calibration: leave out --images"
        )


def check_float32(float32: Sequence[str] | None, precision: str, agreement: float | None) -> None:
    """Refuses blocks in float32 where there is no int8, or where they are to be sought.

    Raises:
        UsageError: it is so.
    """
    if float32 is not None and precision != "int8":
        raise UsageError(f"--float32 and --aware are for --precision int8, not {precision}")
    if float32 is not None and agreement is not None:
        raise UsageError("--agreement seeks what --float32 or --aware say: give one of them")


def check_aware(aware: bool, format_: str) -> None:
    """Refuses formats that do not compute in int8 as `quantization_aware` does.

    Raises:
        UsageError: it is so.
    """
    if aware and format_ != "litert":
        raise UsageError(f"--aware is for litert: {format_} rounds otherwise than in training")


def place(
    output: Path, target: Path, format_: str, precision: str, force: bool
) -> tuple[Path, str]:
    """The folder that a deployment goes to, and the name of the file in it: those of the target.

    Raises:
        UsageError: the folder has what was made of another target, and that is not forced.
    """
    whole = target.resolve()
    name = whole.name if whole.is_dir() else whole.stem
    folder = output / f"{name}_{format_}_{precision}"
    made_of = _made_of(folder / MARK)
    if not force and made_of not in (None, seen_from(folder, target)):
        raise UsageError(
            f"{folder} has what was made of {made_of}: choose another --output, or replace it with "
            "--force"
        )
    return folder, f"{name}{FORMATS[format_]}"


def _made_of(report: Path) -> str | None:
    """The target in the report of an earlier deployment; None where that does not say."""
    try:
        made_of = json.loads(report.read_text(encoding="utf-8"))["target"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return str(made_of)


def packages(format_: str, precision: str) -> None:
    """Finds out what is not installed, before anything long is done.

    Raises:
        MissingDependencyError: something is not.
    """
    needed = [*PACKAGES[format_], *([QUANTIZERS[format_]] if precision == "int8" else [])]
    require(*needed)
    if "tensorflow" in needed:
        import_tensorflow()
    for module in needed:  # one that is there may be broken
        optional(module)


def load_with_report(
    target: Path, size: tuple[int, int] | None, trust_module: bool
) -> tuple[keras.Model, dict[str, Any]]:
    """The model, for images of that size, and the report that lies beside it.

    Raises:
        InvalidModelError: it is no converted model, or the report was damaged.
        UsageError: it is a .keras file for another size, which cannot be built again.
    """
    model = load(target, trust_module)
    if size is not None:
        model = at_size(model, target, size)
    return model, report_beside(target)


def size_of(
    model: keras.Model, wanted: tuple[int, int] | None, source: dict[str, Any]
) -> tuple[int, int] | None:
    """Height and width of the image: what is wanted, or the model's, or those traced at.

    None if the model does not take one image.

    Raises:
        UsageError: none of them says, or a size is wanted of a model that does not take one image.
    """
    image = image_input(model)
    if image is None:
        if wanted is not None:
            raise UsageError("--image-size: the model does not take one image")
        return None
    if wanted is not None:
        return wanted
    height, width = image.shape[1:3]
    if height is None or width is None:
        traced = source["sizes"]["traced"] if source else None
        if traced is None:
            raise UsageError("this model takes images of any size: choose one with --image-size")
        height, width = traced
    return height, width
