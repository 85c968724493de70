"""Activations, linear layers, normalization of tokens and the classifier."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.texts import DIM, TOKENS, Text, dense, every, kinds, layer_norm, only

# A batch of tokens made of an image with as many elements.
PIXELS = f"float[{TOKENS[0]},1,{TOKENS[1]},{TOKENS[2]}]"
TOKEN = Text("t = Reshape(x, tokens)\n", {"tokens": TOKENS})


@pytest.mark.parametrize(
    ("nodes", "function"),
    [
        ("s = Sigmoid(x)  y = Mul(x, s)", "silu"),
        ("s = Sigmoid(x)  y = Mul(s, x)", "silu"),
        ("y = Relu(x)", "relu"),
        ("y = Clip(x, zero, six)", "relu6"),
        ("y = Gelu(x)", "gelu"),
        ('y = Gelu<approximate="none">(x)', "gelu"),
        ("d = Div(x, root2)  e = Erf(d)  p = Add(e, one)  m = Mul(x, p)  y = Mul(m, half)", "gelu"),
        ("d = Mul(root_half, x)  e = Erf(d)  p = Add(one, e)  m = Mul(p, x)  y = Mul(half, m)",
         "gelu"),
        ("y = HardSwish(x)", "hard_silu"),
        ("y = HardSigmoid<alpha=0.16666667>(x)", "hard_sigmoid"),
        ("y = Sigmoid(x)", "sigmoid"),
        ("y = Tanh(x)", "tanh"),
    ],
)  # fmt: skip
def test_an_activation(tmp_path: Path, nodes: str, function: str) -> None:
    numbers = {"zero": 0.0, "six": 6.0, "one": 1.0, "half": 0.5}
    roots = {"root2": 2**0.5, "root_half": 0.5**0.5}
    network = Text(nodes, {**numbers, **roots}).lifted(tmp_path)
    assert only(network, "Activation").params == {"activation": function}
    assert not network.unrecognised


@pytest.mark.parametrize(
    ("nodes", "rest"),
    [
        ("z = Sin(x)  s = Sigmoid(z)  y = Mul(x, s)", {"sigmoid"}),  # gating, not silu
        ("y = Clip(x, zero, five)", set()),
        ("y = Clip(x, one, six)", set()),
        ("y = Clip(x, zero)", set()),
        ("y = HardSigmoid(x)", set()),
        ("y = HardSigmoid<alpha=0.16666667, beta=0.4>(x)", set()),
        ("d = Mul(x, half)  e = Erf(d)  p = Add(e, one)  m = Mul(x, p)  y = Mul(m, half)", set()),
        ("d = Mul(x, r)  e = Erf(d)  p = Add(e, one)  m = Mul(x, p)  y = Mul(m, one)", set()),
    ],
)
def test_no_activation_by_one_detail(tmp_path: Path, nodes: str, rest: set[str]) -> None:
    numbers = {"zero": 0.0, "six": 6.0, "five": 5.0, "one": 1.0, "half": 0.5, "r": 0.5**0.5}
    network = Text(nodes, numbers).lifted(tmp_path)
    assert {block.activation for block in every(network, "Activation")} == rest
    assert network.unrecognised


@pytest.mark.parametrize(
    ("nodes", "use_bias"),
    [
        ("y = MatMul(t, w)", False),
        ("m = MatMul(t, w)  y = Add(m, b)", True),
        ("m = MatMul(t, w)  y = Add(b, m)", True),
    ],
)
def test_a_linear_layer(tmp_path: Path, nodes: str, use_bias: bool) -> None:
    text = TOKEN + Text(nodes, {"w": (DIM, 12), "b": (12,)})
    block = only(text.lifted(tmp_path, image=PIXELS), "Dense")
    assert block.params == {"units": 12, "use_bias": use_bias}


def test_a_bias_that_is_not_one_per_unit_is_none(tmp_path: Path) -> None:
    text = TOKEN + Text("m = MatMul(t, w)  y = Add(m, b)", {"w": (DIM, 12), "b": (1,)})
    network = text.lifted(tmp_path, image=PIXELS)
    assert not only(network, "Dense").use_bias and network.unrecognised[-1].op == "Add"
    assert text.reason(tmp_path, "Dense", image=PIXELS) == "the bias is not one per unit"


def test_no_linear_layer_of_one_vector(tmp_path: Path) -> None:
    text = Text(
        "v = Reshape(x, flat)  y = MatMul(v, w)", {"flat": [-1], "w": (math.prod(TOKENS), 12)}
    )
    assert not kinds(text.lifted(tmp_path, image=PIXELS))
    found = text.reason(tmp_path, "Dense", image=PIXELS)
    assert found == "its input is one vector for all images"


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ("s = Transpose<perm=[0,2,1]>(t)  y = MatMul(t, s)", "kernel is not a constant"),
        ("y = MatMul(w, t)", "kernel is not a constant"),
        ("y = MatMul(t, w3)", "kernel has rank 3, not 2"),
    ],
)
def test_no_linear_layer_by_one_detail(tmp_path: Path, nodes: str, reason: str) -> None:
    batch, tokens, _ = TOKENS
    weights: dict[str, Any] = {"w": (12, tokens), "w3": (batch, DIM, 12)}
    text = TOKEN + Text(nodes, weights)
    assert not kinds(text.lifted(tmp_path, image=PIXELS))
    assert text.reason(tmp_path, "Dense", image=PIXELS) == reason


@pytest.mark.parametrize("axis", [-1, 2])
@pytest.mark.parametrize(
    ("attrs", "epsilon"), [("", 1e-5), (", epsilon=0.000001", 1e-6), (", epsilon=0.001", 0.001)]
)
def test_layer_normalization(tmp_path: Path, axis: int, attrs: str, epsilon: float) -> None:
    text = TOKEN + layer_norm("t", "y").but("axis=-1", f"axis={axis}{attrs}")
    network = text.lifted(tmp_path, image=PIXELS)
    assert only(network, "LayerNorm").params == {"epsilon": epsilon}


def test_layer_normalization_without_a_bias(tmp_path: Path) -> None:
    network = (TOKEN + layer_norm("t", "y").but(", y_b", "")).lifted(tmp_path, image=PIXELS)
    weights = only(network, "LayerNorm").weights
    assert weights.keys() == {"gamma", "beta"} and not weights["beta"].any()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (layer_norm("t", "y").but("axis=-1", "axis=1", y_g=(TOKENS[1], DIM)), "gamma has rank"),
        (
            layer_norm("t", "y").but("axis=-1", "axis=1", y_g=(DIM,)),
            "it normalizes from axis 1, not over the last",
        ),
        (layer_norm("t", "y").but("axis=-1", "axis=-1", y_g=(1,)), "gamma is not one per channel"),
    ],
)
def test_no_layer_normalization_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    network = (TOKEN + text).lifted(tmp_path, image=PIXELS)
    assert "LayerNorm" not in kinds(network)
    assert (TOKEN + text).reason(tmp_path, "LayerNorm", image=PIXELS).startswith(reason)


POOLED = dense("pooled", "y", 10, 8)


@pytest.mark.parametrize(
    ("nodes", "opset"),
    [
        ("pooled = ReduceMean<keepdims=0>(x, last)", 20),
        ("pooled = ReduceMean<keepdims=0>(x, swapped)", 20),
        ("pooled = ReduceMean<axes=[-1,-2], keepdims=0>(x)", 17),
        ("kept = ReduceMean(x, last)  pooled = Flatten(kept)", 20),
        ("kept = GlobalAveragePool(x)  pooled = Flatten(kept)", 11),
    ],
)
@pytest.mark.parametrize("use_bias", [True, False])
def test_a_classifier(tmp_path: Path, nodes: str, opset: int, use_bias: bool) -> None:
    head = POOLED if use_bias else POOLED.but("y_m = ", "y = ").but("y = Add(y_b, y_m)", "")
    text = Text(f"{nodes}\n", {"last": [2, 3], "swapped": [-1, -2]}) + head
    network = text.lifted(tmp_path, opset=opset)
    assert only(network, "Classifier").params == {"num_classes": 10, "use_bias": use_bias}
    assert [child.role for child in only(network, "Classifier").children] == ["pool", "dense"]
    assert not network.unrecognised


@pytest.mark.parametrize(
    "nodes",
    [
        "pooled = ReduceMean<keepdims=0>(x, one)",
        "mean = ReduceMean<keepdims=0>(x, channels)  pooled = Transpose<perm=[0,2,1]>(mean)",
        "mean = ReduceMax<keepdims=0>(x, last)  pooled = Neg(mean)",
    ],
)
def test_no_classifier_by_one_detail(tmp_path: Path, nodes: str) -> None:
    text = Text(f"{nodes}\n", {"last": [2, 3], "one": [2], "channels": [1]}) + POOLED
    network = text.lifted(tmp_path)
    assert kinds(network) == {"Dense"}
    assert text.reason(tmp_path, "Classifier").startswith("pool (GlobalAveragePooling2D) expected")


HIDDEN = dense("pooled", "h", 12, 8) + Text("a = HardSwish(h)\n") + dense("a", "y", 10, 12)


def test_a_classifier_with_a_hidden_layer(tmp_path: Path) -> None:
    text = Text("pooled = ReduceMean<keepdims=0>(x, last)\n", {"last": [2, 3]}) + HIDDEN
    block = only(text.lifted(tmp_path), "Classifier")
    assert block.params == {
        "num_classes": 10, "use_bias": True, "hidden": 12, "activation": "hard_silu",
    }  # fmt: skip
    assert [child.role for child in block.children] == ["pool", "hidden", "act", "dense"]
    lopsided = text.but("h_m = ", "h = ").but("h = Add(h_b, h_m)", "")
    reason = lopsided.reason(tmp_path, "Classifier")
    assert reason == "hidden has use_bias False, dense has True"


def test_a_classifier_of_one_pixel(tmp_path: Path) -> None:
    nodes = "mean = GlobalMaxPool(x)  pooled = Flatten(mean)\n"
    network = (Text(nodes) + POOLED).lifted(tmp_path)
    assert only(network, "Classifier").num_classes == 10
    assert [node.op for node in network.unrecognised] == ["GlobalMaxPool"]


def test_a_classifier_whose_features_are_an_output_is_none(tmp_path: Path) -> None:
    text = Text("pooled = ReduceMean<keepdims=0>(x, last)\n", {"last": [2, 3]}) + POOLED
    network = text.lifted(tmp_path, outputs="y pooled")
    assert kinds(network) == {"GlobalAveragePooling2D", "Dense"}
    reason = text.reason(tmp_path, "Classifier", outputs="y pooled")
    assert reason == "its inner value 'pooled' is an output of the graph"


@pytest.mark.parametrize(("nodes", "held"), [
    ("y = GlobalAveragePool(x)", True),
    ("y = ReduceMean<keepdims=1>(x, axes)", True),
    ("y = ReduceMean<keepdims=1>(x, one)", False),
    ("y = GlobalMaxPool(x)", False),
])  # fmt: skip
def test_a_mean_that_keeps_its_axes(tmp_path: Path, nodes: str, held: bool) -> None:
    network = Text(nodes, {"axes": [-1, -2], "one": [2]}).lifted(tmp_path)
    assert kinds(network) == ({"GlobalMean"} if held else set())


def test_a_mean_over_two_of_five_axes_is_no_pooling(tmp_path: Path) -> None:
    weights = {"five": [2, 2, 4, 8, 8], "axes": [2, 3], "ones": np.ones(8)}
    text = Text("r = Reshape(x, five)  y = ReduceMean<keepdims=0>(r, axes)", weights)
    assert not kinds(text.lifted(tmp_path))


@pytest.mark.parametrize(
    ("nodes", "outputs", "holds"),
    [
        ("y = Softmax<axis=-1>(t)", "y", True),
        ("y = Softmax<axis=1>(t)", "y", True),
        ("y = Softmax<axis=0>(t)", "y", False),
        ("s = Softmax<axis=-1>(t)  y = Sin(s)", "y", False),
        ("y = Softmax<axis=-1>(x)", "y", False),
    ],
    ids=["", "from the front", "over images", "inside", "of an image"],
)
def test_a_softmax_in_the_end_is_that_of_a_classifier(
    tmp_path: Path, nodes: str, outputs: str, holds: bool
) -> None:
    text = Text("t = Flatten(x)\n") + Text(nodes)
    assert ("Probabilities" in kinds(text.lifted(tmp_path, outputs=outputs))) == holds
