"""What a proof needs beside the comparison itself: the images, and the model at their size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from onnx2mvit.builder import at_size, default_size, is_swapped, load, loading
from onnx2mvit.errors import InvalidModelError, UsageError
from onnx2mvit.lifter.activation import own_arguments
from onnx2mvit.runtimes import some_inputs
from onnx2mvit.stages import inspect
from onnx2mvit.verifier.reference_outputs import ReferenceOutputs, reference_outputs
from onnx2mvit.verifier.verification import Verification
from onnx2mvit.verifier.verify_model import verify_model

if TYPE_CHECKING:
    import keras

    from onnx2mvit.ir.graph import Value
    from onnx2mvit.ir.network import Network

INPUTS = 8


def run_reference(
    path: Path,
    network: Network,
    folder: str | Path | None,
    count: int = INPUTS,
    positive: bool = False,
) -> ReferenceOutputs:
    """What onnxruntime answers to the images in `folder`, or to `count` inputs made here."""
    inputs, description = some_inputs(network, folder, count, beyond=True, positive=positive)
    return reference_outputs(path, network, inputs, description)


def prove(
    path: Path,
    network: Network,
    model: keras.Model,
    reference: ReferenceOutputs,
    progress: Callable[[str], None],
) -> Verification:
    """Compares a model with its file.

    Where an output has no number that can be compared, inputs that are between 0 and 1 are tried.

    Args:
        path: the ONNX file.
        network: as it was read of it.
        model: takes images of the size at which it was read.
        reference: what onnxruntime answers.
        progress: is told each stage.

    Returns:
        The verdict and all errors.
    """
    told = partial(_told, progress)
    found = verify_model(path, network, model, reference, progress=told)
    if found.passed or (found.float64 or {}).get("verdict") != "right":
        return found
    tamer = run_reference(path, network, None, reference.count, positive=True)
    again = verify_model(path, network, model, tamer, progress=told)
    return again if again.passed else found


def _told(progress: Callable[[str], None], done: int, total: int) -> None:
    progress(f"verify ({done} of {total} images)")


def inspect_for(
    path: Path,
    target: Path,
    patterns: Sequence[str | Path] = (),
    how_read: Mapping[str, Any] = MappingProxyType({}),
    trust_module: bool = False,
) -> Network:
    """The network of a file, at the size of the model if the file leaves its size open.

    `patterns` are as in `inspect`, `how_read` are further arguments of that, and `trust_module` is
    as in `builder.load`.

    Raises:
        InvalidModelError: one of the two is not usable.
    """
    network = inspect(path, patterns, **how_read)
    if not network.graph.source.dynamic_size:
        return network
    size = default_size(target, trust_module)
    if size in (None, network.traced_size):
        return network
    there = inspect(path, patterns, size, **how_read)
    return network if there.refused else there


def load_traced(
    target: Path, network: Network, trust_module: bool = False, hard_activations: bool = False
) -> keras.Model:
    """A converted model with the head and the activations of the file, at the traced size.

    Args:
        target: the folder that `convert` wrote, or a .keras file.
        network: as it was read of the file.
        trust_module: as in `builder.load`.
        hard_activations: whether the folder was written for hard swish in the place of SiLU.

    Raises:
        InvalidModelError: it is not what `convert` wrote.
        UsageError: it is a .keras file for another size, which cannot be built again, or it has
            hard swish in the place of SiLU.
    """
    own = own_arguments(network, hard_activations) if target.is_dir() else {}
    with loading(target):
        model = load(target, trust_module, **own)
        model = at_size(model, target, network.traced_size, **own)
    if is_swapped(model, network):
        raise UsageError(
            f"{target} has hard swish in the place of the file's SiLU, and is not compared "
            "with it: `onnx2mvit verify` takes the folder that `convert --hard-activations` wrote, "
            "and compares what it is with SiLU"
        )
    ours = [tensor.shape for tensor in model.inputs]
    theirs = [_shape(network, value) for value in network.graph.inputs]
    if len(ours) != len(theirs) or not all(map(_fits, ours, theirs)):
        raise InvalidModelError(f"{target} takes {ours}, and the ONNX file {theirs}")
    return model


def _shape(network: Network, value: Value) -> tuple[int | None, ...]:
    """Of an input as Keras has it; the batch is open."""
    batch, shape = network.graph.batch_axes[value], value.shape or ()
    return tuple(None if axis == batch else shape[axis] for axis in network.order(value))


def _fits(ours: tuple[int | None, ...], theirs: tuple[int | None, ...]) -> bool:
    pairs = zip(ours, theirs, strict=False)
    return len(ours) == len(theirs) and all(None in pair or len({*pair}) == 1 for pair in pairs)
