"""Which activations a Keras model has, whatever its source says."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from onnx2mvit.builder.layers import layers_by_path
from onnx2mvit.lifter.activation import HARD_SWISH, SILU, has_silu

if TYPE_CHECKING:
    import keras

    from onnx2mvit.ir.network import Network


def activations_of(model: keras.Model) -> Counter[str]:
    """How many layers of a model, and of the models in it, have each activation.

    Returns:
        Counts by Keras's names of the functions: "silu", "hard_silu", "linear".
    """
    return Counter(filter(None, (activation_of(layer) for _, layer in layers_by_path(model))))


def activation_of(layer: keras.Layer) -> str:
    """Keras's name of a layer's activation; "" if it has none."""
    return getattr(getattr(layer, "activation", None), "__name__", "")


def is_swapped(model: keras.Model, network: Network) -> bool:
    """Whether a file has SiLU and the model made of it none, but hard swish."""
    found = activations_of(model)
    return has_silu(network) and not found[SILU] and found[HARD_SWISH] > 0
