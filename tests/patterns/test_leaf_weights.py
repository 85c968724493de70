"""A leaf's weights in its Keras layer give the numbers of the graph it was lifted from."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from onnx2mvit.base.backend import import_keras
from onnx2mvit.ir.block import Block
from tests.support.texts import DIM, TOKENS, Text, attention, conv, dense, layer_norm, only

Array = np.ndarray[Any, Any]
PIXELS = f"float[{TOKENS[0]},1,{TOKENS[1]},{TOKENS[2]}]"
IMAGE = "float[2,8,9,9]"
TOKEN = Text("t = Reshape(x, tokens)\n", {"tokens": TOKENS})


def reference(folder: Path, shape: list[int]) -> tuple[Array, Array]:
    """A random input of the file in the folder, and onnxruntime's answer."""
    images = np.random.default_rng(7).normal(size=shape).astype(np.float32)
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    (answer,) = session.run(None, {"x": images})
    return images, answer


def loaded(layer: Any, leaf: Block, *inputs: Array) -> Array:
    """What the layer answers with the weights of the leaf."""
    layer(*inputs)
    variables = {variable.path.partition("/")[2]: variable for variable in layer.weights}
    assert variables.keys() == leaf.weights.keys()
    for name, variable in variables.items():
        assert tuple(variable.shape) == leaf.weights[name].shape, name
        variable.assign(leaf.weights[name])
    answer: Array = np.asarray(layer(*inputs))
    return answer


def same(ours: Array, theirs: Array) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (conv("x", "y", 12, 8), "Conv2D"),
        (conv("x", "y", 12, 8, bias=False), "Conv2D"),
        (conv("x", "y", 12, 8, 1), "Conv2D"),
        (conv("x", "y", 12, 8, attrs="dilations=[2,2], pads=[2,2,2,2]"), "Conv2D"),
        (conv("x", "y", 12, 8, attrs="strides=[2,2]"), "Conv2D"),
        (conv("x", "y", 12, 8, group=4), "Conv2D"),
        (conv("x", "y", 16, 8, group=8), "DepthwiseConv2D"),
        (conv("x", "y", 8, 8, group=8), "DepthwiseConv2D"),
        (conv("x", "y", 8, 8, 5, group=8, bias=False), "DepthwiseConv2D"),
        (conv("x", "y", 8, 8, group=8, attrs="strides=[2,2]"), "DepthwiseConv2D"),
    ],
)
def test_a_convolution(tmp_path: Path, text: Text, kind: str) -> None:
    layers = import_keras().layers
    leaf = only(text.lifted(tmp_path, image=IMAGE), kind)
    images, answer = reference(tmp_path, [2, 8, 9, 9])
    steps = {"strides": leaf.strides, "dilation_rate": leaf.dilation, "use_bias": leaf.use_bias}
    layer = (
        layers.DepthwiseConv2D(leaf.kernel_size, **steps, depth_multiplier=leaf.filters // 8)
        if kind == "DepthwiseConv2D"
        else layers.Conv2D(leaf.filters, leaf.kernel_size, **steps, groups=leaf.groups)
    )
    edge = leaf.dilation * (leaf.kernel_size // 2)
    padded = np.pad(images.transpose(0, 2, 3, 1), [(0, 0), (edge, edge), (edge, edge), (0, 0)])
    same(loaded(layer, leaf, padded), answer.transpose(0, 2, 3, 1))


def test_batch_normalization(tmp_path: Path) -> None:
    weights = {"g": (8,), "b": (8,), "m": (8,), "v": np.linspace(0.1, 2, 8)}
    text = Text("y = BatchNormalization<epsilon=0.01>(x, g, b, m, v)", weights)
    leaf = only(text.lifted(tmp_path, image=IMAGE), "BatchNorm")
    images, answer = reference(tmp_path, [2, 8, 9, 9])
    layer = import_keras().layers.BatchNormalization(**leaf.params)
    same(loaded(layer, leaf, images.transpose(0, 2, 3, 1)), answer.transpose(0, 2, 3, 1))


@pytest.mark.parametrize(
    "text",
    [dense("t", "y", 12), Text("y = MatMul(t, y_w)", {"y_w": (DIM, 12)})],
    ids=["with bias", "without bias"],
)
def test_a_linear_layer_on_tokens(tmp_path: Path, text: Text) -> None:
    leaf = only((TOKEN + text).lifted(tmp_path, image=PIXELS), "Dense")
    images, answer = reference(tmp_path, [TOKENS[0], 1, *TOKENS[1:]])
    layer = import_keras().layers.Dense(leaf.units, use_bias=leaf.use_bias)
    same(loaded(layer, leaf, images[:, 0]), answer)


@pytest.mark.parametrize("transposed", [0, 1])
def test_a_linear_layer_on_rows(tmp_path: Path, transposed: int) -> None:
    attrs = f"<transB={transposed}, alpha=0.5, beta=2.0>"
    weight = (12, 32) if transposed else (32, 12)
    text = Text(f"f = Flatten(x)  y = Gemm{attrs}(f, w, b)", {"w": weight, "b": (12,)})
    leaf = only(text.lifted(tmp_path, image=PIXELS), "Dense")
    images, answer = reference(tmp_path, [TOKENS[0], 1, *TOKENS[1:]])
    same(loaded(import_keras().layers.Dense(12), leaf, images.reshape(-1, 32)), answer)


def test_layer_normalization(tmp_path: Path) -> None:
    text = TOKEN + layer_norm("t", "y").but("axis=-1", "axis=-1, epsilon=0.01")
    leaf = only(text.lifted(tmp_path, image=PIXELS), "LayerNorm")
    images, answer = reference(tmp_path, [TOKENS[0], 1, *TOKENS[1:]])
    layer = import_keras().layers.LayerNormalization(**leaf.params)
    same(loaded(layer, leaf, images[:, 0]), answer)


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_group_normalization(tmp_path: Path, groups: int) -> None:
    nodes = f"y = GroupNormalization<num_groups={groups}, epsilon=0.01>(x, g, b)"
    text = Text(nodes, {"g": (8,), "b": (8,)})
    leaf = only(text.lifted(tmp_path, image=IMAGE, opset=21), "GroupNorm")
    images, answer = reference(tmp_path, [2, 8, 9, 9])
    layer = import_keras().layers.GroupNormalization(**leaf.params)
    same(loaded(layer, leaf, images.transpose(0, 2, 3, 1)), answer.transpose(0, 2, 3, 1))


@pytest.mark.parametrize("use_bias", [True, False])
def test_attention(tmp_path: Path, use_bias: bool) -> None:
    text = TOKEN + attention("t", "y")
    for name in () if use_bias else ("q", "k", "v", "y"):
        text = text.but(f"{name}_m = ", f"{name} = ").but(f"{name} = Add({name}_b, {name}_m)", "")
    leaf = only(text.lifted(tmp_path, image=PIXELS), "MultiHeadAttention")
    images, answer = reference(tmp_path, [TOKENS[0], 1, *TOKENS[1:]])
    layer = import_keras().layers.MultiHeadAttention(**leaf.params)
    same(loaded(layer, leaf, images[:, 0], images[:, 0]), answer)


@pytest.mark.parametrize(
    "nodes",
    ["s = Sigmoid(x)  y = Mul(x, s)", "y = Relu(x)", "y = Clip(x, zero, six)", "y = Gelu(x)",
     "y = HardSwish(x)", "y = Sigmoid(x)", "y = Tanh(x)"],
)  # fmt: skip
def test_an_activation_is_kerass_of_that_name(tmp_path: Path, nodes: str) -> None:
    network = Text(nodes, {"zero": 0.0, "six": 6.0}).lifted(tmp_path, image=IMAGE)
    leaf = only(network, "Activation")
    images, answer = reference(tmp_path, [2, 8, 9, 9])
    same(loaded(import_keras().layers.Activation(leaf.activation), leaf, images), answer)
