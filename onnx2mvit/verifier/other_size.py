"""What the file makes of other sizes than the one that it was read at, and whether we agree."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx2mvit.base.quiet import one_line
from onnx2mvit.builder import at_size, float64_allowed, in_float64, single_operators_fit
from onnx2mvit.errors import InvalidModelError, UnsupportedError
from onnx2mvit.ir.image_size import ImageSize, sizes_beside
from onnx2mvit.runtimes import (
    Float64Runner,
    InBatches,
    Inputs,
    OnnxRuntimeRunner,
    Outputs,
    as_the_file,
    compare,
    some_inputs,
    worst,
)
from onnx2mvit.runtimes.float64_runner import widened
from onnx2mvit.runtimes.runner import by_name
from onnx2mvit.runtimes.tolerances import FLOAT32, FLOAT64, OF_PRECISION

if TYPE_CHECKING:
    import keras

    from onnx2mvit.ir.network import Network

COMPARED = 2  # images
PROVEN = 2  # sizes beside the first where a model is for any
# Of what rounding to float32 does to an answer that is zero but for rounding, so much is left in
# float64 at most, which has 29 more places.
LEFT_OF_ROUNDING = 1e-6


def look_elsewhere(
    path: Path,
    network: Network,
    model: keras.Model,
    folder: Path,
    asked: ImageSize | None,
    own: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Compares the model with the file at other sizes than the one that it was read at.

    These are the size that is asked for, two more where it is any, and else one where the file
    declares to take others. A file for one size is run as if it took any; most fail then, and the
    model goes by the rule of its blocks.

    Args:
        path: the ONNX file.
        network: as it was read of it.
        model: for the size that it was read at.
        folder: what `convert` wrote, from which the model is made for other sizes.
        asked: the size that was asked for, "any", or None.
        own: the arguments of the model function that give what the file has.

    Returns:
        For each size what onnxruntime makes of it: it "agrees", "differs" or "fails".

    Raises:
        UnsupportedError: the model was asked for a size at which the file answers otherwise.
    """
    found: list[dict[str, Any]] = []
    for size in _others(network, asked):
        try:
            with single_operators_fit(network, size):
                there = at_size(model, folder, size, **own)
        except UnsupportedError:
            continue
        looked = look_at(path, network, there, size)
        if looked["onnxruntime"] == "differs" and asked is not None:
            raise UnsupportedError(_refusal(network, looked))
        found.append(looked)
        if sum(each["onnxruntime"] == "agrees" for each in found) == PROVEN:
            break
    fails = found and all(each["onnxruntime"] == "fails" for each in found)
    declared = network.graph.source.dynamic_size and network.coverage.single_ops
    if fails and declared and (asked == "any" or _goes_beyond(network, asked)):
        raise UnsupportedError(_refusal(network, found[0]))
    return found


def _others(network: Network, asked: ImageSize | None) -> Iterator[tuple[int, int]]:
    traced = network.traced_size
    if traced is None or network.fixed_by is not None or asked == traced:
        return
    if isinstance(asked, tuple):
        yield asked
    elif asked == "any":
        # First the one at which rounding shows.
        yield from reversed(sizes_beside(traced, network.open_size))
    elif network.graph.source.dynamic_size:
        yield sizes_beside(traced, network.open_size)[0]


def _goes_beyond(network: Network, asked: ImageSize | None) -> bool:
    """Whether the height or the width that is asked for is one that the file has as a number."""
    if not isinstance(asked, tuple) or network.traced_size is None:
        return False
    lengths = zip(asked, network.traced_size, network.open_size, strict=True)
    return any(wanted != own and not is_open for wanted, own, is_open in lengths)


def _refusal(network: Network, looked: dict[str, Any]) -> str:
    own, there = ("×".join(map(str, size)) for size in (network.traced_size or (), looked["size"]))
    error = f"off by {looked.get('max_rel_error', 0):.1e} of the largest value"
    return (
        f"the model can only be made for images of {own}: at {there} onnxruntime "
        f"{looked['onnxruntime']} ({looked.get('why', error)})"
    )


def look_at(
    path: Path, network: Network, model: keras.Model, size: tuple[int, int]
) -> dict[str, Any]:
    """What onnxruntime makes of a file at another size; two structured images are compared.

    Exporters often bake one size in, and then the file fails, or answers wrongly.
    """
    inputs, _ = some_inputs(network, None, COMPARED, size)
    looked: dict[str, Any] = {"size": list(size)}
    try:
        session = OnnxRuntimeRunner(path, outputs=network.graph.source.outputs, any_size=True)
        answers = InBatches(session, network.file_batch, network.batch_axes)(inputs)
    except InvalidModelError as error:
        return looked | {"onnxruntime": "fails", "why": str(error)}
    try:
        ours = InBatches(as_the_file(model, network), network.batch, network.batch_axes)(inputs)
    except Exception as error:  # of Keras, or of its backend
        return looked | {"onnxruntime": "fails", "why": f"Keras fails: {one_line(error)}"}
    for name, array in ours.items():
        if array.shape != answers[name].shape:
            shapes = f"Keras has shape {list(array.shape)}, onnxruntime {list(answers[name].shape)}"
            mixed = not network.graph.source.dynamic_size and _mixes(network, answers)
            verdict = "fails" if mixed else "differs"
            return looked | {"onnxruntime": verdict, "why": f"{name}: {shapes}"}
    found = worst(compare(ours, answers).values())
    near = found.within(OF_PRECISION[network.graph.source.precision])
    agrees = near or _agrees_in_float64(path, network, model, inputs, answers)
    counting = network.counts_pixels
    if not agrees and counting is not None:
        own = "×".join(map(str, network.traced_size or ()))
        why = f"it has the number of pixels at {own} in {counting.name!r}, where the model counts"
        return looked | {"onnxruntime": "fails", "why": why}
    verdict = "agrees" if agrees else "differs"
    return looked | {"onnxruntime": verdict, "max_rel_error": found.max_rel_error}


def _mixes(network: Network, answers: Outputs) -> bool:
    """Whether a file for one size takes what is beyond that size for further images."""
    batches = {value.name: network.layouts[value].batch for value in network.graph.outputs}
    return any(
        batch is not None and len(array.shape) > batch and array.shape[batch] > COMPARED
        for name, array in answers.items()
        for batch in [batches.get(name)]
    )


def _agrees_in_float64(
    path: Path, network: Network, model: keras.Model, inputs: Inputs, answers: Outputs
) -> bool:
    """True if it was rounding alone: without it, both say the same, or as near as onnxruntime is.

    `answers` are onnxruntime's in float32.
    """
    try:
        with float64_allowed():
            feed = widened(by_name(inputs, [value.name for value in network.graph.inputs]))
            file = Float64Runner(path, list(answers), network.graph.source.outputs)
            right = InBatches(file, network.file_batch, network.batch_axes)(feed)
            wide = as_the_file(in_float64(model), network)
            ours = compare(InBatches(wide, network.batch, network.batch_axes)(feed), right)
    except Exception:  # of either runtime: then nothing is shown
        return False
    noise = compare(answers, right)
    return all(
        each.within(FLOAT64)
        or each.max_rel_error <= min(noise[name].max_rel_error, FLOAT32)
        or each.error <= noise[name].error * LEFT_OF_ROUNDING < math.inf
        for name, each in ours.items()
    )
