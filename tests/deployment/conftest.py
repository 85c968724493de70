"""A small network that several tests deploy."""

from pathlib import Path

import pytest

import onnx2mvit
from tests.support.graphs import model, save

SMALL = """g (float[N,3,32,32] pixels) => (float[N,10] scores) {
    c = Conv<pads=[1,1,1,1]>(pixels, w, b)
    s = Sigmoid(c)
    a = Mul(c, s)
    p = GlobalAveragePool(a)
    f = Flatten<axis=1>(p)
    scores = Gemm<transB=1>(f, v, d)
}"""


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of one convolution and a classifier, converted; its ONNX file is beside it."""
    output = tmp_path_factory.mktemp("small")
    made = model(SMALL, w=(16, 3, 3, 3), b=(16,), v=(10, 16), d=(10,))
    return onnx2mvit.convert(save(made, output, "small.onnx"), output, verify=False).folder
