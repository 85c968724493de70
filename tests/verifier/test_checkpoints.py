"""The proof accuses the layer that is wrong, and no other."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnx2mvit
from onnx2mvit import inspect
from onnx2mvit.builder import build
from onnx2mvit.runtimes import some_inputs
from onnx2mvit.verifier.reference_outputs import reference_outputs
from onnx2mvit.verifier.verify_model import verify_model
from tests.support.graphs import model, save

CHAIN = """g (float[N,3,32,32] x) => (float[N,8,32,32] y) {
    a = Conv<pads=[1,1,1,1]>(x, w0)  b = Clip(a, zero, six)
    c = Conv<pads=[1,1,1,1]>(b, w1)  d = Clip(c, zero, six)
    e = Conv<pads=[1,1,1,1]>(d, w2)  y = Clip(e, zero, six)
}"""
CLIP: dict[str, Any] = {"zero": np.float32(0), "six": np.float32(6)}


def test_only_the_layer_that_is_wrong_is_accused(tmp_path: Path) -> None:
    made = model(CHAIN, w0=(8, 3, 3, 3), w1=(8, 8, 3, 3), w2=(8, 8, 3, 3), **CLIP)
    file = save(made, tmp_path)
    folder = onnx2mvit.convert(file, tmp_path, name="net", verify=False).folder
    network, wrong = inspect(file), build(folder)
    reference = reference_outputs(file, network, some_inputs(network, None, 2)[0], "")
    with pytest.MonkeyPatch.context() as patch:  # onnxruntime is done before Keras begins
        patch.delattr("onnx2mvit.verifier.verify_model.inner_session")
        assert verify_model(file, network, wrong, reference).passed
    kernel = wrong.get_layer("conv_bn_act_1_conv").kernel
    kernel.assign(np.asarray(kernel) * 1.01)
    result = verify_model(file, network, wrong, reference)
    bad = [block["name"] for block in result.blocks if block["max_rel_error"] > result.tolerance]
    assert bad == ["conv_bn_act_1", "conv_bn_act_1.conv"]
    assert result.verdict == "failed" and result.max_rel_error > 1e-4
