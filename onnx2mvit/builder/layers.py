"""What is a model, its layers by path, the blocks that they are in, and other calls for a while."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from onnx2mvit.base.backend import import_keras
from onnx2mvit.errors import UsageError

if TYPE_CHECKING:
    import keras


def check_model(model: object, function: str) -> None:
    """Raises UsageError if what a function of this name was given is no model."""
    if not isinstance(model, import_keras().Model):
        raise UsageError(f"{function} takes a Keras model, not {type(model).__name__}")


def layers_by_path(model: keras.Model, inside: str = "") -> Iterator[tuple[str, Any]]:
    """All layers that are no models, with their paths: those of models in it, those of layers.

    A path is the names of what is around a layer, and its own, with slashes between.
    """
    model_class = import_keras().Model
    for layer in model.layers:
        path = f"{inside}{layer.name}"
        if isinstance(layer, model_class):
            yield from layers_by_path(layer, f"{path}/")
            continue
        yield path, layer
        for part in layer._flatten_layers(include_self=False):  # Keras has no public way
            yield f"{path}/{part.name}", part


def block_finder(blocks: Collection[str]) -> Callable[[str], str | None]:
    """Says which of these blocks a path is in, the one with the longest name; None for no one.

    The layers of a block that is no model of its own begin with its name and an underscore. In
    files, Keras adds numbers: `net_1/encoder.layer.2_1/conv_1x1_convolution_1/convolution;`.
    """
    patterns = {
        block: re.compile(rf"(^|[/;]){re.escape(block)}(_\d+)?(_[a-z]\w*)?/")
        for block in sorted(blocks, key=len, reverse=True)
    }
    return lambda path: next(
        (name for name, pattern in patterns.items() if pattern.search(path)), None
    )


@contextmanager
def other_calls(model: keras.Model, calls: Mapping[Any, Callable[..., Any]]) -> Iterator[None]:
    """Meanwhile, layers of a model compute by functions of ours in place of their `call`.

    What Keras has compiled is forgotten before and after, as it holds what the layers were.
    """
    before = {layer: vars(layer).get("call") for layer in calls}
    _set(model, calls)
    try:
        yield
    finally:
        _set(model, before)


def _set(model: Any, calls: Mapping[Any, Callable[..., Any] | None]) -> None:
    for layer, call in calls.items():
        if call is not None:
            object.__setattr__(layer, "call", call)
        elif "call" in vars(layer):
            object.__delattr__(layer, "call")
    model.train_function = model.test_function = model.predict_function = None
