"""The model card: what others should know of a network before they use it, from its report."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from onnx2mvit.errors import printable
from onnx2mvit.publishing.destination import Destination
from onnx2mvit.reports.wording import FIXED_BATCH, percent, pixels, tensor
from onnx2mvit.runtimes.openvino_runner import NAMES
from onnx2mvit.version import __version__

# By format: the library that the Hugging Face hub shows code for, and what it is found by.
LIBRARIES = {"keras": "keras", "keras_hub": "keras-hub"}
TAGS = LIBRARIES | {"litert": "tflite", "saved_model": "tensorflow"}
TAGS |= {each: each for each in ("onnx", "openvino")}


def model_card(
    report: Mapping[str, Any],
    files: Sequence[str],
    format_: str,
    where: Destination,
    licence: str | None,
    weights_from: str | None,
    deployed: Mapping[str, Any] | None = None,
) -> str:
    """The card as Markdown, with the header that the Hugging Face hub reads.

    Args:
        report: what report.json holds of a conversion that was proven.
        files: those that lie beside the card.
        format_: as in `publish`.
        where: it is to lie, from where the code in it loads it.
        licence: of the weights; None where it was not said.
        weights_from: who trained them; None likewise.
        deployed: what deploy.json holds, where there is one.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("onnx2mvit.publishing", "templates"),
        autoescape=False,  # Markdown; what comes from the file goes through `code`
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"code": _code, "words": _words, "percent": percent}
    header = {
        "license": licence,
        "library_name": LIBRARIES.get(format_),
        "pipeline_tag": task_of(report),
        "tags": ["onnx2mvit", TAGS[format_]],
    }
    return environment.get_template("model_card.md.j2").render(
        report=report,
        header={key: value for key, value in header.items() if value is not None},
        name=report["model"]["name"],
        files=files,
        format=format_,
        file=deployed["file"] if deployed else f"{report['model']['name']}.keras",
        hint=NAMES.get(deployed["precision"]) if deployed else None,
        where=where,
        licence=licence,
        weights_from=weights_from,
        image=next((each for each in report["inputs"] if _is_image(each)), None),
        how=report["preprocessing"],
        photograph=_photograph(report, raw=format_ == "keras_hub"),
        takes=deployed["inputs"] if deployed else report["inputs"],
        fixed_batch=FIXED_BATCH,
        pixels=pixels,
        preset=f"{where.hub}://{where.place}" if where.hub else ".",
        tensor=tensor,
        version=__version__,
    )


def task_of(report: Mapping[str, Any]) -> str | None:
    """What the Hugging Face hub calls the task of a network; None for what is on no images."""
    outputs = report["outputs"]
    if not any(_is_image(each) for each in report["inputs"]):
        return None
    if report["detections"] is not None:
        return "object-detection"
    if any(each.get("mask") for each in outputs):
        return "image-segmentation"
    if report["model"]["head"] != "none" and len(outputs) == 1 and len(outputs[0]["shape"]) == 2:
        return "image-classification"
    return "image-feature-extraction"


def _is_image(entry: Mapping[str, Any]) -> bool:
    return {"height", "width"} <= {*(entry["axes"] or ())}


def _photograph(report: Mapping[str, Any], raw: bool) -> str | None:
    """Python that makes the pixels of a photograph; None where the network takes something else.

    The share that is cut out of it is left to whoever uses it. They are `raw` for a model that has
    a preprocessor of its own.
    """
    inputs, how = report["inputs"], report["preprocessing"]
    floats = len(inputs) == 1 and inputs[0]["dtype"] == "float32"
    if how is None or not floats or not _is_image(inputs[0]):
        return None
    if raw:
        return 'pixels = keras.utils.img_to_array(keras.utils.load_img("photo.jpg"))[None]'
    size = tuple(how["size"] or report["sizes"]["traced"])
    gray = ', color_mode="grayscale"' if inputs[0]["shape"][-1] == 1 else ""
    pixels = 'np.array(photo, "float32")'
    pixels += "[..., None]" if gray else ""
    if how["scale"] != 1:
        pixels += f" * {how['scale']:.8g}"
    if any(how["mean"]) or any(each != 1 for each in how["std"]):
        pixels = f"({pixels} - {how['mean']}) / {how['std']}"
    turned = ", ..., ::-1" if how["channels"] == "bgr" else ""
    return (
        f'photo = keras.utils.load_img("photo.jpg", target_size={size}{gray}, '
        f'interpolation="{how["interpolation"]}")\n'
        f"pixels = np.float32({pixels})[None{turned}]"
    )


def _code(text: object) -> str:
    """A text of others as code in Markdown: nothing in it is a command to whoever shows it."""
    return f"`{printable(str(text)).replace('`', chr(39))}`"


def _words(text: object) -> str:
    """A text of others among words."""
    return re.sub(r"([\\`<\[|])", r"\\\1", printable(str(text)))
