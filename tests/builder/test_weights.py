"""Weights: in other files, used twice, and by path."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import safetensors.numpy

import onnx2mvit
from onnx2mvit.builder import build, import_module
from onnx2mvit.builder.weights import variables_by_path
from onnx2mvit.exporter.torch_export import Request
from tests.support.graphs import model, save
from tests.support.networks import exported
from tests.support.skeletons import USUAL
from tests.support.torch_mobilevit import Config, MobileViT


def test_a_file_with_external_data_is_the_same_network(tmp_path: Path) -> None:
    whole = exported(MobileViT(Config(("hf",))), Request("legacy", 17, False, True), tmp_path)
    apart = tmp_path / "in" / "net.onnx"
    apart.parent.mkdir()
    proto = onnx.load(whole)
    onnx.save(proto, apart, save_as_external_data=True, location="net.data", size_threshold=0)
    assert apart.stat().st_size < whole.stat().st_size / 2
    result = onnx2mvit.convert(apart, tmp_path / "out", inputs=2)
    assert result.passed
    again = onnx2mvit.convert(whole, tmp_path / "out", name="whole", verify=False)
    ours = safetensors.numpy.load_file(result.folder / "net.safetensors")
    theirs = safetensors.numpy.load_file(again.folder / "whole.safetensors")
    assert ours.keys() == theirs.keys()
    assert all((ours[key] == theirs[key]).all() for key in ours)


TWICE = """g (float[N,8,16,16] x) => (float[N,8,16,16] y) {
    a = Conv<pads=[1,1,1,1]>(x, w, b)  c = Relu(a)
    d = Conv<pads=[1,1,1,1]>(c, w, b)  y = Relu(d) }"""


def test_what_layers_share_is_copied_and_said(tmp_path: Path) -> None:
    path = save(model(TWICE, w=(8, 8, 3, 3), b=(8,)), tmp_path)
    result = onnx2mvit.convert(path, tmp_path)
    assert result.passed
    shared = 8 * 8 * 9 + 8
    assert result.report["model"]["parameters"] == 2 * shared
    assert result.report["model"]["copied_parameters"] == shared


def test_nothing_is_copied_in_a_network_without_shared_weights(
    unproven: Callable[[str], onnx2mvit.Conversion],
) -> None:
    result = unproven(USUAL)
    assert result.report["model"]["copied_parameters"] == 0


def test_weights_survive_another_size_and_go_by_path(
    unproven: Callable[[str], onnx2mvit.Conversion],
) -> None:
    result = unproven(USUAL)
    other = build(result.folder, input_shape=(96, 64, 3))
    ours = {path: np.asarray(value) for path, value in variables_by_path(result.model)}
    assert "encoder.layer.2/transformer.layer.0/attention/query/kernel" in ours
    assert "conv_stem_convolution/kernel" in ours
    for path, value in variables_by_path(other):
        assert (np.asarray(value) == ours[path]).all()
        value.assign(np.zeros(value.shape))
    import_module(result.source).load_weights(other, "net.safetensors")
    assert all((np.asarray(v) == ours[path]).all() for path, v in variables_by_path(other))
