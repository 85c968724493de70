"""Other weights of a network's blocks are put where the graph has the constants of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx2mvit import inspect
from onnx2mvit.builder import block_weights
from onnx2mvit.errors import UnsupportedError
from onnx2mvit.ir.graph import Value
from onnx2mvit.ir.network import Network
from onnx2mvit.lifter.constants import other_constants
from onnx2mvit.lowering import lower
from tests.patterns.test_pattern_swin import network as swin
from tests.support.graphs import model, save
from tests.support.texts import mobilevit

Array = np.ndarray[Any, Any]
HEAD = """g (float[N,3,8,8] x) => (float[N,6] y) {
    c = Conv<group=1>(x, w, b)  n = BatchNormalization(c, gamma, beta, mean, variance)
    p = ReduceMean<axes=[2,3], keepdims=0>(n)  y = Gemm<transB=1>(p, v, d) }"""
WEIGHTS: dict[str, Any] = {"w": (4, 3, 3, 2), "b": (4,), "v": (6, 4), "d": (6,)}
WEIGHTS |= dict.fromkeys(("gamma", "beta", "mean"), (4,)) | {"variance": np.full(4, 2.0)}


def by_name(found: dict[Value, Array]) -> dict[str, Array]:
    return {value.name.rpartition("/")[2]: array for value, array in found.items()}


def others(network: Network, seed: int = 1) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {
        path: np.asarray(rng.normal(size=array.shape), np.float32)
        for path, array in block_weights(network.blocks).items()
    }


@pytest.fixture
def classifier(tmp_path: Path) -> Network:
    return inspect(save(model(HEAD, opset=13, **WEIGHTS), tmp_path))


def test_only_what_changed_is_other(classifier: Network) -> None:
    weights = block_weights(classifier.blocks)
    assert not other_constants(classifier.blocks, weights)
    (path,) = (path for path in weights if weights[path].ndim == 4)
    changed = weights[path] * 2
    found = by_name(other_constants(classifier.blocks, weights | {path: changed}))
    assert np.array_equal(found["w"], changed.transpose(3, 2, 0, 1))
    assert not {"gamma", "v"} & found.keys()


def test_a_head_may_have_another_number_of_classes(classifier: Network) -> None:
    weights = others(classifier)
    kernel, bias = (path for path in weights if "Dense" in path or "classifier" in path)
    weights |= {kernel: np.arange(36.0).reshape(4, 9), bias: np.arange(9.0)}
    found = other_constants(classifier.blocks, weights)
    (wide,) = (array for array in found.values() if array.shape == (4, 9))
    assert np.array_equal(wide, weights[kernel])
    weights[kernel] = np.zeros((5, 9))  # of other features
    with pytest.raises(UnsupportedError, match="another form"):
        other_constants(classifier.blocks, weights)


def test_every_leaf_of_a_mobilevit_block_is_found(tmp_path: Path) -> None:
    text = mobilevit()
    body = f"g (float[2,8,8,8] x) => (float y) {{ {text.nodes} }}"
    network = inspect(save(model(body, **text.weights), tmp_path))
    weights = others(network)
    found = other_constants(network.blocks, weights)
    leaves = [each for top in network.blocks for each in top.walk() if each.weights]
    assert {"MultiHeadAttention", "LayerNorm", "Dense", "Conv2D"} <= {each.kind for each in leaves}
    for leaf in leaves:
        for name, array in leaf.weights_from(found).items():
            assert np.array_equal(array, weights[f"{leaf.path}/{name}"])


def test_a_table_of_positions_that_the_exporter_looked_up_is_found(tmp_path: Path) -> None:
    network = lower(swin(tmp_path)[0])
    tables = [leaf for top in network.blocks for leaf in top.walk() if leaf.kind == "ScoreBias"]
    weights = block_weights(network.blocks)
    wanted = {f"{leaf.path}/embeddings": leaf.weights["embeddings"] * 3 + 1 for leaf in tables}
    found = other_constants(network.blocks, weights | wanted)
    assert tables and len(found) == len(tables)
    for leaf in tables:
        made = leaf.weights_from(found)["embeddings"]
        assert np.array_equal(made, wanted[f"{leaf.path}/embeddings"])


def test_what_comes_from_no_constant_cannot_change(tmp_path: Path) -> None:
    """StarReLU has one number in the file and one for each channel in Keras."""
    star = "s = Mul(x, x)  m = Mul(s, scale)  a = Add(m, offset)  y = Conv(a, w)"
    text = f"g (float[N,3,8,8] r) => (float y) {{ x = Relu(r)  {star} }}"
    made = model(text, scale=[0.8], offset=[-0.4], w=(3, 3, 1, 1))
    network = inspect(save(made, tmp_path))
    weights = block_weights(network.blocks)
    (path,) = (path for path in weights if len(np.unique(weights[path])) == 1 and "bias" in path)
    alike = weights | {path: weights[path] * 2}
    found = [array.item() for array in other_constants(network.blocks, alike).values()]
    assert sorted(found) == pytest.approx([-0.8, 0.8])
    apart = weights | {path: np.arange(3, dtype=np.float32)}
    with pytest.raises(UnsupportedError, match="another form"):
        other_constants(network.blocks, apart)
