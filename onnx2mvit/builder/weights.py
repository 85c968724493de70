"""Weights by layer path, `encoder.layer.0.layer.0/expand_1x1_convolution/kernel`.

A path is the names of the models around a layer, the layer, and Keras's name of the variable,
with slashes between. It survives another head, another size and added layers without weights,
where `.weights.h5`, which goes by class and order, does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy

from onnx2mvit.base.memory import let_go
from onnx2mvit.errors import InvalidModelError
from onnx2mvit.ir.block import Block

if TYPE_CHECKING:
    import keras

Arrays = dict[str, np.ndarray[Any, Any]]


def block_weights(blocks: Iterable[Block]) -> Arrays:
    """All tensors of these block trees, in Keras's layout and float32; views where that can be."""
    return {
        f"{leaf.path}/{name}": np.asarray(array, dtype=np.float32)
        for top in blocks
        for leaf in top.walk()
        for name, array in leaf.weights.items()
    }


def save_weights(weights: Arrays, path: Path, metadata: dict[str, str]) -> None:
    """Writes a safetensors file of `weights` by path, with `metadata` as its texts."""
    whole = {name: np.ascontiguousarray(array) for name, array in weights.items()}
    safetensors.numpy.save_file(whole, path, metadata=metadata)
    let_go(whole.values())


def variables_by_path(model: keras.Model, inside: str = "") -> Iterator[tuple[str, Any]]:
    """All weights of a model and of the models in it, with their paths."""
    from keras import Model

    for layer in model.layers:
        if isinstance(layer, Model):
            yield from variables_by_path(layer, f"{inside}{layer.name}/")
        else:
            own = f"{layer.name}/"  # a copy of a layer around others leaves it out of paths
            for variable in layer.weights:
                yield inside + own + variable.path.removeprefix(own), variable


def weights_by_path(model: keras.Model) -> Arrays:
    """The values of all weights of a model and of the models in it."""
    return dict(_values_by_path(model))


def _values_by_path(model: keras.Model) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    from keras import ops

    for path, variable in variables_by_path(model):
        yield path, ops.convert_to_numpy(variable)


def other_weights(model: keras.Model, arrays: Arrays) -> Arrays:
    """The weights that a model has in other values than these, to the last place, by path.

    They are compared one at a time: all at once they would take the memory of a second model.
    """
    others = {}
    for path, array in _values_by_path(model):
        if path in arrays:
            if not np.array_equal(array, arrays[path], equal_nan=True):
                others[path] = array
            let_go([arrays[path]])
    return others


def check_weights(model: keras.Model, arrays: Arrays, origin: str) -> None:
    """Compares the weights of a model with arrays by path; `origin` says where those are from.

    Raises:
        InvalidModelError: a weight is missing, left over, or of another shape.
    """
    variables = dict(variables_by_path(model))
    wrong = [
        *(f"{key} is missing" for key in variables.keys() - arrays.keys()),
        *(f"{key} is not in the model" for key in arrays.keys() - variables.keys()),
        *(
            f"{key} is {list(arrays[key].shape)}, not {list(variables[key].shape)}"
            for key in variables.keys() & arrays.keys()
            if tuple(arrays[key].shape) != tuple(variables[key].shape)
        ),
    ]
    if wrong:
        listed = "; ".join(sorted(wrong)[:20])
        raise InvalidModelError(
            f"{origin} does not fit the model in {len(wrong)} weights: {listed}"
        )
