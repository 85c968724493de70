"""The constants of a graph that go with other weights of its blocks, as after training.

How a leaf reads its weights off the graph is known in one direction alone: its pattern turns,
reshapes, cuts and joins constants. So the constants are numbered, element by element, and where
the numbers end is where the elements of the weights come from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from onnx2mvit.errors import UnsupportedError
from onnx2mvit.ir.block import Block
from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher.rooted import Mismatch

Array = np.ndarray[Any, Any]
LARGEST = 1 << 24  # up to which float32 has all integers


def other_constants(blocks: Iterable[Block], weights: Mapping[str, Array]) -> dict[Value, Array]:
    """The arrays of those constants that change where blocks have other weights.

    Args:
        blocks: at the top of a network, with names.
        weights: by layer path, in Keras's layout; those of a classifier may be for another number
            of classes.

    Raises:
        UnsupportedError: some weights are no layout of constants, as a table that is looked up
            where the graph has what was found in it.
    """
    found: dict[Value, Array] = {}
    changed: dict[Block, dict[str, Array]] = {}
    for leaf in (each for top in blocks for each in top.walk() if each.weights):
        wanted = {
            name: weights.get(f"{leaf.path}/{name}", own) for name, own in leaf.weights.items()
        }
        if any(not np.array_equal(wanted[name], own) for name, own in leaf.weights.items()):
            changed[leaf] = wanted
            found |= _placed(leaf, wanted)
    for leaf, wanted in changed.items():
        made = _weights(leaf, found)
        if any(not np.array_equal(made[name], array) for name, array in wanted.items()):
            raise _no_layout(leaf)
    return found


def _no_layout(leaf: Block) -> UnsupportedError:
    return UnsupportedError(
        f"the trained weights of {leaf.path!r} ({leaf.kind}) cannot be put into the ONNX graph, "
        "which has them in another form"
    )


def _weights(leaf: Block, constants: Mapping[Value, Array]) -> dict[str, Array]:
    try:
        return leaf.weights_from(constants)
    except (Mismatch, ValueError, IndexError, TypeError) as error:
        raise _no_layout(leaf) from error


def _placed(leaf: Block, wanted: Mapping[str, Array]) -> dict[Value, Array]:
    """The constants of a leaf with the elements of its weights where they come from."""
    read = (value for node in leaf.onnx_nodes() for value in node.inputs if value is not None)
    own = {
        value: value.const
        for value in read
        if value.const is not None and value.const.dtype.kind == "f"
    }
    begins = dict(zip(own, np.cumsum([1, *(array.size for array in own.values())]), strict=False))
    elements = np.concatenate([np.zeros(1), *(array.reshape(-1) for array in own.values())])
    if elements.size > LARGEST:
        raise _no_layout(leaf)
    numbered = {
        value: np.arange(begins[value], begins[value] + array.size, dtype=np.float32)
        for value, array in own.items()
    }
    numbered = {value: each.reshape(own[value].shape) for value, each in numbered.items()}
    resized: dict[Value, Array] = {}
    for name, origin in _weights(leaf, numbered).items():
        places = origin.astype(np.int64)
        if places.min() < 0 or places.max() >= elements.size:
            raise _no_layout(leaf)
        if places.shape == wanted[name].shape:
            # 0 is for what comes from nowhere, as a bias that the file does not have.
            elements[places] = wanted[name]
            continue
        value = next(value for value in reversed(own) if begins[value] <= places.min())
        made = _resized(places - begins[value], own[value].shape, wanted[name])
        if made is None:
            raise _no_layout(leaf)
        resized[value] = made
    flat = elements.astype(np.float32)
    return {
        value: flat[begins[value] : begins[value] + array.size].reshape(array.shape)
        for value, array in own.items()
    } | resized


def _resized(places: Array, shape: tuple[int, ...], wanted: Array) -> Array | None:
    """A constant of this shape for weights of another length along one axis; None if it is none.

    `places` says which of its elements the old weights are.
    """
    lengths = zip(places.shape, wanted.shape, strict=False)
    axes = [axis for axis, (old, new) in enumerate(lengths) if old != new]
    if len(axes) != 1 or places.ndim != wanted.ndim or places.max() >= math.prod(shape):
        return None
    (axis,) = axes
    along = [-1 if each == axis else 1 for each in range(places.ndim)]
    found = np.unravel_index(places, shape)
    steps = np.broadcast_to(np.arange(places.shape[axis]).reshape(along), places.shape)
    moving = [number for number, each in enumerate(found) if np.array_equal(each, steps)]
    if len(moving) != 1:
        return None
    index = [each.take([0], axis) for each in found]
    index[moving[0]] = np.arange(wanted.shape[axis]).reshape(along)
    longer = list(shape)
    longer[moving[0]] = wanted.shape[axis]
    made = np.empty(longer, np.float32)
    made[tuple(index)] = wanted
    return made
