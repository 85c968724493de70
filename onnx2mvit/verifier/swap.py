"""How far a model with hard swish in the place of SiLU is from its file: it is another function."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx2mvit.builder import activations_of, at_size
from onnx2mvit.lifter.activation import SILU
from onnx2mvit.lifter.head import own_head
from onnx2mvit.runtimes import (
    InBatches,
    OnnxRuntimeRunner,
    as_the_file,
    compare,
    some_inputs,
    sqnr_db,
    worst,
)

if TYPE_CHECKING:
    import keras

    from onnx2mvit.ir.network import Network


def look_at_swap(
    path: Path,
    network: Network,
    own: keras.Model,
    swapped: keras.Model,
    folder: Path,
    images: str | Path | None,
    count: int | None,
) -> dict[str, Any]:
    """In how many layers hard swish is in the place of SiLU, and how far that is from the file.

    There is no verdict. It is measured on pixels as photographs have them: what is large or
    negative, on which models are proven, hides a difference that is about zero.

    Args:
        path: the ONNX file.
        network: as it was read of it.
        own: the model as the file has it.
        swapped: the one with hard swish, with the file's own head.
        folder: what `convert` wrote, from which that is made for the size of the file.
        images: a folder of images; by default structured ones are made.
        count: how many of these; None to compare nothing.

    Returns:
        `layers` that have it, those that have SiLU `left`, and the `distance`, None where nothing
        is compared: the `images`, `max_rel_error` of the largest value, `sqnr_db`, signal to noise,
        and `top1_agreement`, the share of images with the same first class, None without classes.
    """
    before, left = activations_of(own)[SILU], activations_of(swapped)[SILU]
    found: dict[str, Any] = {"layers": before - left, "left": left, "distance": None}
    if count is None:
        return found
    traced = at_size(swapped, folder, network.traced_size, **own_head(network))
    inputs, description = some_inputs(network, images, count)
    session = OnnxRuntimeRunner(path, outputs=network.graph.source.outputs)
    file = InBatches(session, network.file_batch, network.batch_axes)
    ours = InBatches(as_the_file(traced, network), network.batch, network.batch_axes)
    compared = list(compare(ours(inputs), file(inputs), answers=True).values())
    agreeing = compared[0].agreeing
    found["distance"] = {
        "images": description,
        "max_rel_error": worst(compared).max_rel_error,
        "sqnr_db": sqnr_db(compared),
        "top1_agreement": sum(agreeing) / len(agreeing) if agreeing else None,
    }
    return found
