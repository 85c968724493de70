"""The constants of a graph that go with other weights of its blocks, as after training.

How a leaf reads its weights off the graph is known in one direction alone: its pattern turns,
reshapes, cuts and joins constants. So the constants are numbered, element by element, and where
the numbers end is where the elements of the weights come from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from onnx2mvit.errors import UnsupportedError
from onnx2mvit.ir.block import Block
from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher.rooted import Mismatch, require

Array = np.ndarray[Any, Any]
UNFIT = (Mismatch, ValueError, IndexError, TypeError)  # of a pattern, on what it was not made for
LARGEST = 1 << 24  # up to which float32 has all integers


def other_constants(blocks: Iterable[Block], weights: Mapping[str, Array]) -> dict[Value, Array]:
    """The arrays of those constants that change where blocks have other weights.

    Args:
        blocks: at the top of a network, with names.
        weights: by layer path, in Keras's layout; those of a classifier may be for another number
            of classes.

    Raises:
        UnsupportedError: some weights do not come from constants one by one, as those that are
            alike for all channels in the graph.
    """
    found: dict[Value, Array] = {}
    changed: dict[Block, Mapping[str, Array]] = {}
    for leaf in (each for top in blocks for each in top.walk() if each.weights):
        wanted = {
            name: weights.get(f"{leaf.path}/{name}", own) for name, own in leaf.weights.items()
        }
        if any(not np.array_equal(wanted[name], own) for name, own in leaf.weights.items()):
            changed[leaf] = wanted
            found |= _constants(leaf, wanted)
    for leaf, new in changed.items():  # two may share a constant
        if not _fit(leaf, found, new):
            raise _no_layout(leaf)
    return found


def _no_layout(leaf: Block) -> UnsupportedError:
    return UnsupportedError(
        f"the trained weights of {leaf.path!r} ({leaf.kind}) cannot be put into the ONNX graph, "
        "which has them in another form"
    )


def _fit(leaf: Block, constants: Mapping[Value, Array], wanted: Mapping[str, Array]) -> bool:
    """Whether these constants give a leaf the weights that it is to have."""
    try:
        made = leaf.weights_from(constants)
    except UNFIT:
        return False
    return all(np.array_equal(made[name], array) for name, array in wanted.items())


def _constants(leaf: Block, wanted: Mapping[str, Array]) -> dict[Value, Array]:
    """The constants of a leaf that give it these weights."""
    read = (value for node in leaf.onnx_nodes() for value in node.inputs if value is not None)
    own = {
        value: value.const
        for value in read
        if value.const is not None and value.const.dtype.kind == "f"
    }
    for way in (_placed, _looked_up):
        try:
            found = way(leaf, own, wanted)
        except UNFIT:
            continue
        if _fit(leaf, found, wanted):
            return found
    raise _no_layout(leaf)


def _placed(
    leaf: Block, own: dict[Value, Array], wanted: Mapping[str, Array]
) -> dict[Value, Array]:
    """The constants with the elements of the weights where they come from."""
    begins = dict(zip(own, np.cumsum([1, *(array.size for array in own.values())]), strict=False))
    elements = np.concatenate([np.zeros(1), *(array.reshape(-1) for array in own.values())])
    require(elements.size <= LARGEST, "they are too many to be numbered")
    numbered = {
        value: np.arange(begins[value], begins[value] + array.size, dtype=np.float32)
        for value, array in own.items()
    }
    numbered = {value: each.reshape(own[value].shape) for value, each in numbered.items()}
    resized: dict[Value, Array] = {}
    for name, origin in leaf.weights_from(numbered).items():
        places = origin.astype(np.int64)
        if places.shape == wanted[name].shape:
            # 0 is for what comes from nowhere, as a bias that the file does not have.
            elements[places] = wanted[name]
            continue
        before = [value for value in own if begins[value] <= places.min()]
        require(bool(before), "a part of them comes from nowhere")
        value = before[-1]
        resized[value] = _resized(places - begins[value], own[value].shape, wanted[name])
    flat = elements.astype(np.float32)
    return {
        value: flat[begins[value] : begins[value] + array.size].reshape(array.shape)
        for value, array in own.items()
    } | resized


def _looked_up(
    leaf: Block, own: dict[Value, Array], wanted: Mapping[str, Array]
) -> dict[Value, Array]:
    """The same where the graph has what was found in a table, several times or in an order.

    Exporters look up the biases of relative positions (Swin's, LeViT's) once and for all. Which
    of the old elements it was is known as long as no two of them are alike.
    """
    old, new = (
        np.concatenate([each[name].reshape(-1) for name in wanted])
        for each in (leaf.weights, wanted)
    )
    elements, places, counts = np.unique(old, return_index=True, return_counts=True)
    found = {}
    for value, array in own.items():
        at = np.searchsorted(elements, array).clip(max=len(elements) - 1)
        if np.array_equal(elements[at], array) and counts[at].max() == 1:
            found[value] = new[places[at]]
    return found


def _resized(places: Array, shape: tuple[int, ...], wanted: Array) -> Array:
    """A constant of this shape for weights of another length along one axis.

    `places` says which of its elements the old weights are.
    """
    lengths = zip(places.shape, wanted.shape, strict=False)
    axes = [axis for axis, (old, new) in enumerate(lengths) if old != new]
    require(len(axes) == 1 and places.ndim == wanted.ndim, "they differ by more than an axis")
    (axis,) = axes
    along = [-1 if each == axis else 1 for each in range(places.ndim)]
    found = np.unravel_index(places, shape)
    steps = np.broadcast_to(np.arange(places.shape[axis]).reshape(along), places.shape)
    moving = [number for number, each in enumerate(found) if np.array_equal(each, steps)]
    require(len(moving) == 1, "no axis of the constant goes with that of the weights")
    index = [each.take([0], axis) for each in found]
    index[moving[0]] = np.arange(wanted.shape[axis]).reshape(along)
    longer = list(shape)
    longer[moving[0]] = wanted.shape[axis]
    made = np.empty(longer, np.float32)
    made[tuple(index)] = wanted
    return made
