"""What is said of batch normalization: that it was folded only where a name tells so."""

from pathlib import Path

import pytest

import onnx2mvit
from onnx2mvit.reports.report import batch_normalization
from tests.support.graphs import model, save

HEAD = "g (float[N,3,8,8] x) => (float[N,4,8,8] y) {"


def said(folder: Path, body: str, **weights: str) -> str:
    """What is said of a convolution whose tensors the file calls so."""
    made = model(f"{HEAD} {body} }}", w=(4, 3, 1, 1), b=(4,), s=[1.0, 1.5, 2.0, 2.5])
    names = weights
    for tensor in made.graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    for node in made.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    return batch_normalization(onnx2mvit.inspect(save(made, folder)).blocks)


@pytest.mark.parametrize("name", ["onnx::Conv_45", "stem.conv.weight_bias", "m/bn1/bias", "bn.b"])
def test_a_folded_one_is_told_by_the_name_of_the_bias(tmp_path: Path, name: str) -> None:
    assert said(tmp_path, "c = Conv(x, w, b)  y = Relu(c)", b=name) == "folded"


@pytest.mark.parametrize("name", ["conv.bias", "bias", "net/conv2d/BiasAdd/ReadVariableOp:0"])
def test_a_bias_of_the_network_is_none(tmp_path: Path, name: str) -> None:
    assert said(tmp_path, "c = Conv(x, w, b)  y = Relu(c)", b=name) == "none"


def test_what_no_name_tells_is_unknown_and_what_is_there_is_kept(tmp_path: Path) -> None:
    assert said(tmp_path, "c = Conv(x, w, b)  y = Relu(c)", b="17") == "unknown"
    assert said(tmp_path, "c = Conv(x, w)  y = BatchNormalization(c, s, s, s, s)") == "kept"
    assert said(tmp_path, "c = Conv(x, w)  y = Relu(c)") == "none"
