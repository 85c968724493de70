"""What a Keras model is made of, in Keras 3 and in Keras 2."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Layers that say nothing of what they do: a function, or an operation of TensorFlow.
OPAQUE = {"Lambda", "TFOpLambda", "SlicingOpLambda", "TFClassMethodDispatcher", "TFSMLayer"}
FOLDERS = ("keras.layers.", "keras.src.layers.", "tf_keras.src.layers.")


def described(model: Any, keras: Any) -> dict[str, Any]:
    """Layers of a model and of the models in it, and how much of it can be trained.

    Opaque is what is no stock layer: operations, Lambda, and classes that Keras does not have.
    """
    layers = list(leaves(model, keras))
    stock = [each for each in layers if is_stock(type(each))]
    return {
        "layers": len(layers),
        "opaque": len(layers) - len(stock),
        "trainable": sum(numbers(each) for each in model.trainable_weights),
    }


def leaves(model: Any, keras: Any) -> Iterator[Any]:
    """All layers and operations that are no models; inputs are none of them."""
    for each in getattr(model, "operations", model.layers):
        if isinstance(each, keras.Model):
            yield from leaves(each, keras)
        elif not isinstance(each, keras.layers.InputLayer):
            yield each


def is_stock(kind: type) -> bool:
    """Whether Keras documents it as a layer."""
    return f"{kind.__module__}.".startswith(FOLDERS) and kind.__name__ not in OPAQUE


def numbers(weight: Any) -> int:
    """How many a weight has."""
    count = 1
    for length in weight.shape:
        count *= int(length)
    return count


def write(facts: dict[str, Any], folder: Path) -> None:
    """Hands them over to who asked."""
    (folder / "described.json").write_text(json.dumps(facts), encoding="utf-8")
