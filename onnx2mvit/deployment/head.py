"""Where the head of a model begins, and the models that end there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx2mvit.builder.calls import Call, Calls, calls_of

if TYPE_CHECKING:
    import keras

FEATURES, VECTOR = "features", "feature_vector"


def linear_head(calls: Calls) -> tuple[Call, str | None] | None:
    """The call of the last linear layer, of vectors, and what activates its answers.

    None if the model does not end in one, or has more than one output.
    """
    import keras

    call, activation = calls.maker(calls.outputs[0]), None
    if call is not None and isinstance(call.layer, keras.layers.Softmax):
        call, activation = calls.maker(call.inputs[0]), "softmax"
    linear = call is not None and isinstance(call.layer, keras.layers.Dense)
    if call is None or not linear or len(calls.outputs) > 1 or len(call.inputs[0].shape) != 2:
        return None
    return call, activation


def extractors_of(model: keras.Model) -> dict[str, keras.Model]:
    """The model up to its head, as far as that is found.

    Returns:
        "features" up to the last image or sequence before one vector for each image, and
        "feature_vector" up to the vector (batch, features) that the last linear layer reads.
    """
    import keras

    calls, ends = calls_of(model), {}
    tensor = calls.outputs[0]
    maker = calls.maker(tensor) if len(tensor.shape) == 2 else None
    while maker is not None and maker.inputs and len(tensor.shape) <= 2:
        tensor = maker.inputs[0]
        maker = calls.maker(tensor)
    if len(tensor.shape) > 2 and len(calls.outputs[0].shape) == 2:
        ends[FEATURES] = tensor
    if (head := linear_head(calls)) is not None:
        ends[VECTOR] = head[0].inputs[0]
    return {
        name: keras.Model(calls.inputs, end, name=f"{model.name}_{name}")
        for name, end in ends.items()
    }
