"""The calls of a functional model are those that Keras makes, and the model stays as it was."""

import keras
import numpy as np

from onnx2mvit.builder.calls import calls_of


def nested() -> keras.Model:
    """Two images' worth of branches: a layer, a nested model, an operation with a constant."""
    inner = keras.Input((4,), name="inner")
    block = keras.Model(inner, keras.layers.Dense(4, name="inside")(inner), name="block")
    image = keras.Input((4,), name="image")
    first = keras.layers.Dense(4, name="first")(image)
    second = keras.ops.add(block(first), np.full(4, 2, np.float32))
    return keras.Model(image, [keras.layers.Add(name="sum")([first, second]), second])


def test_calls_run_again_answer_as_the_model() -> None:
    model = nested()
    calls = calls_of(model)
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    tensors = {id(calls.inputs[0]): x}
    for call in calls.calls:
        args, kwargs = call.arguments(tensors)
        tensors[id(call.outputs[0])] = call.layer(*args, **kwargs)
    for symbolic, theirs in zip(calls.outputs, model(x), strict=True):
        assert np.array_equal(tensors[id(symbolic)], theirs)


def test_every_tensor_has_its_maker_and_its_last_reader() -> None:
    calls = calls_of(nested())
    by_name = {call.layer.name: call for call in calls.calls}
    first, block, total = by_name["first"], by_name["block"], by_name["sum"]
    assert "inside" not in by_name  # what is in a nested model is its own
    assert calls.maker(calls.inputs[0]) is None
    assert calls.maker(block.inputs[0]) is first
    assert calls.last_read[first] == {id(calls.inputs[0])}
    assert calls.last_read[block] == set()  # the sum reads its input once more
    assert calls.last_read[total] == {id(tensor) for tensor in total.inputs}


def test_a_model_that_was_gone_through_is_as_before() -> None:
    model = nested()
    before, output = model.to_json(), model.get_layer("first").output
    calls_of(model)
    assert model.to_json() == before
    assert model.get_layer("first").output is output
