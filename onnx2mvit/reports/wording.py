"""What the terminal and the page say alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FOR_FINE_TUNING = "For fine-tuning, export again with it kept (docs/howto/convert.md)."
# By what a report says of batch normalization.
NOTES = {
    "folded": "The exporter folded batch normalization into the convolutions, and it cannot be "
    f"brought back. {FOR_FINE_TUNING}",
    "merged": "Branches and batch normalization were merged into convolutions, as asked for. "
    "For fine-tuning, convert without --merge-branches.",
    "unknown": "There is no batch normalization in the file, and its convolutions have biases: if "
    f"the network had any, it was folded into them. {FOR_FINE_TUNING}",
}


FIXED_BATCH = "for a batch of {} alone, as the network mixes the images of a batch"


def swapped(swap: Mapping[str, Any]) -> str:
    """That hard swish is in the place of SiLU, how far from the file that is, and what to do."""
    count = swap["layers"]
    told = f"hard swish is in the place of SiLU in {count} layer{'s' if count != 1 else ''}"
    if swap["left"]:
        told += f", and not in {swap['left']} more"
    told += ": the model is another function than the file"
    if (far := swap["distance"]) is not None:
        told += f", {far['max_rel_error']:.1e} of the largest value away"
        if far["sqnr_db"] is not None:
            told += f", signal to noise {far['sqnr_db']:.1f} dB"
        if far["top1_agreement"] is not None:
            told += f", {far['top1_agreement']:.1%} of first classes agree"
        told += f" (on {far['images']})"
    return f"{told}. Train it further, as by onnx2mvit.distill (docs/howto/hard_activations.md)"


def axes(entry: Mapping[str, Any]) -> str:
    """The axes of a tensor with their lengths, and its type: (batch, height 32, 8) float32."""
    parts = [
        name
        if name == str(length) or (name, length) == ("batch", None)
        else f"{'' if name == '?' else f'{name} '}{'any' if length is None else length}"
        for name, length in zip(entry["axes"], entry["shape"], strict=True)
    ]
    return f"({', '.join(parts)}) {entry['dtype']}"


def tensor(entry: Mapping[str, Any]) -> str:
    """What an input or an output is: its axes with their lengths, and what the file has."""
    if entry["axes"] is None:
        return "the same for every input"
    told = [axes(entry)]
    if sorted(entry["file_axes"]) == sorted(entry["axes"]) and entry["file_axes"] != entry["axes"]:
        told.append(f"in the file ({', '.join(entry['file_axes'])})")
    if entry["keras_name"] != entry["name"]:
        told.append(f"in Keras called {entry['keras_name']!r}")
    return ", ".join(told)


def pixels(how: Mapping[str, Any]) -> str:
    """What is done to photographs, and from where that is known."""
    order = str(how["channels"]).upper()
    if how["scale"] == 1:
        told = f"{order} in [0, 255]"
    else:
        told = f"{order} in [0, {255 * how['scale']:g}]"
    if any(how["mean"]) or any(each != 1 for each in how["std"]):
        mean, std = (
            ", ".join(f"{number:g}" for number in numbers) for numbers in (how["mean"], how["std"])
        )
        told += f", minus ({mean}), over ({std})"
    if how["crop"] is not None and how["crop"] < 1:
        told += f", the centre {how['crop']:.1%} of the shorter side"
    return f"{told}, {how['interpolation']}; from {how['origin']}" if how["origin"] else ASSUMED


ASSUMED = (
    "nothing says what the network was trained on: RGB in [0, 1] is an assumption (--preprocessing)"
)


def shown_params(params: dict[str, Any], usual: Mapping[str, Any]) -> str:
    """The hyperparameters that are not at their usual values."""
    return ", ".join(
        f"{key}={value}" for key, value in params.items() if key not in usual or value != usual[key]
    )


def matched_boxes(boxes: Mapping[str, Any], theirs: str, ours: str) -> str:
    """How many boxes match of those that two runtimes find, each by its name."""
    how = f"the same class, IoU of {boxes['iou']:g} or more"
    found = f"of {boxes['theirs']} {theirs} and {boxes['ours']} {ours} {boxes['matched']} match"
    mean = boxes["mean_iou"]
    return f"{found} ({how})" + (f", mean IoU {mean:.4f}" if mean is not None else "")


def percent(share: float | None) -> str:
    """A share of images; – where there is none to be had."""
    return "–" if share is None else f"{share:.2%}"


def rate(images: float | None) -> str:
    """Images per second."""
    return "–" if images is None else f"{images:,.1f}" if images < 100 else f"{images:,.0f}"
