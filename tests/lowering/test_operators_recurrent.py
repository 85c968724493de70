"""LSTM, GRU and RNN over sequences, in one direction or in both."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from onnx2mvit.builder import build
from tests.support.operators import code, converted, network, reason

IMAGE = "float[N,6,1,4] x"
# Columns as steps, sequence first, as PyTorch's layers have them inside: (4, N, 6).
STEPS = "s = Squeeze(x, two)  t = Transpose<perm=[2,0,1]>(s)  "
JOINED = "{0}2 = Transpose<perm=[0,2,1,3]>({0}1)  {0} = Reshape({0}2, joined)  "
NUMBERS: dict[str, Any] = {"two": [2], "joined": [0, 0, -1]}


def weights(name: str, gates: int, inputs: int, units: int, directions: int) -> dict[str, Any]:
    rng = np.random.default_rng(len(name) + gates)
    shapes = {"w": (gates * units, inputs), "r": (gates * units, units), "b": (2 * gates * units,)}
    return {
        f"{name}{key}": rng.normal(scale=0.5, size=(directions, *shape))
        for key, shape in shapes.items()
    }


def test_stacked_layers_hand_over_states_and_answer_right_flat_and_trained(tmp_path: Path) -> None:
    nodes = (
        STEPS
        + 'a1, h1, c1 = LSTM<hidden_size=4, direction="bidirectional">(t, aw, ar, ab)  '
        + JOINED.format("a")
        + """
        hf, hb = Split<axis=0, num_outputs=2>(h1)  cf, cb = Split<axis=0, num_outputs=2>(c1)
        b1, h2, c2 = LSTM<hidden_size=4>(a, bw, br, bb, , hb, cf)  b = Squeeze(b1, one)
        g1 = GRU<hidden_size=4, direction="reverse">(b, gw, gr, gb, , h2)  g = Squeeze(g1, one)
        y1 = Transpose<perm=[1,0,2]>(g)  y = Relu(y1)  cell = Squeeze(c2, first)
        """
    )
    layers = {
        **weights("a", 4, 6, 4, 2),
        **weights("b", 4, 8, 4, 1),
        **weights("g", 3, 4, 4, 1),
    }
    made = converted(
        nodes, tmp_path, image=IMAGE, outputs="y cell", **layers, **NUMBERS, one=[1], first=[0]
    )
    for line in (
        "layers.Bidirectional(layers.LSTM(4, return_sequences=True, return_state=True",
        "lstm1_y, lstm1_h, lstm1_c = layers.LSTM(4, return_sequences=True, return_state=True",
        "reset_after=False, go_backwards=True",
    ):
        assert line in made.lines
    assert made.report["verification"]["rewrite"]["max_rel_error"] < 1e-5
    nested, flat = build(made.folder), build(made.folder, nested=False)
    images = np.random.default_rng(0).normal(size=(3, *nested.input_shape[1:]))
    with tf.GradientTape() as tape:
        answers = nested(images)
        loss = sum(tf.reduce_sum(answer) for answer in answers)
    for ours, theirs in zip(answers, flat(images), strict=True):
        assert np.array_equal(ours, theirs)
    gradients = tape.gradient(loss, [each.value for each in nested.trainable_variables])
    assert len(gradients) == 12 and all(np.abs(gradient).max() > 0 for gradient in gradients)


def test_what_is_read_step_by_step_needs_no_reshape(tmp_path: Path) -> None:
    nodes = STEPS + 'y1 = LSTM<hidden_size=4, direction="bidirectional">(t, aw, ar, ab)  '
    made = code(
        nodes + JOINED.format("y"), tmp_path, image=IMAGE, **weights("a", 4, 6, 4, 2), **NUMBERS
    )
    inner = "layers.LSTM(4, return_sequences=True, name='lstm')"
    assert made[2:] == [f"layers.Bidirectional({inner}, name=$name)($0)"]


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ("LSTM<hidden_size=4, clip=1.0>(t, aw, ar)", "its gates are clipped"),
        ("LSTM<hidden_size=4, input_forget=1>(t, aw, ar)", "its input and forget gates are one"),
        ("LSTM<hidden_size=4>(t, aw, ar, ab, , , , p)", "it has peepholes"),
        ("LSTM<hidden_size=4>(t, aw, ar, ab, short)", "its sequences differ in length"),
        ("LSTM<hidden_size=4>(t, aw, ar, ab, , learned)", "it begins with states that are learned"),
        (
            'LSTM<hidden_size=4, activations=["Sigmoid", "Relu", "Tanh"]>(t, aw, ar)',
            "its activations are Sigmoid, Relu, Tanh",
        ),
        ("LSTM<hidden_size=4>(i, aw, ar)", "LSTM goes over the images of a batch"),
    ],
)
def test_what_keras_lacks_is_refused(node: str, expected: str, tmp_path: Path) -> None:
    nodes = f"{STEPS} i = Transpose<perm=[0,2,1]>(s)  y = {node}"
    numbers = {"p": np.ones((1, 12)), "short": [4, 3, 4], "learned": np.ones((1, 3, 4)), **NUMBERS}
    found = reason(nodes, tmp_path, image=IMAGE, **weights("a", 4, 6, 4, 1), **numbers)
    assert found == expected


@pytest.mark.parametrize("lengths", [True, False])
def test_a_length_that_is_given_is_that_of_the_traced_image(lengths: bool, tmp_path: Path) -> None:
    nodes = (
        "s = ReduceMax<keepdims=0>(x, two)  t = Transpose<perm=[2,0,1]>(s)  n = Cast<to=6>(all)  "
        f"y1 = LSTM<hidden_size=4>(t, aw, ar, ab, {'n' if lengths else ''})  y = Squeeze(y1, one)"
    )
    found = network(
        nodes,
        tmp_path,
        image="float[1,6,5,40] x",
        all=[40],
        one=[1],
        two=[2],
        **weights("a", 4, 6, 4, 1),
    )
    assert not found.refused
    assert (found.fixed_by is not None) == lengths
