"""Sub-pixel convolution: where the pattern holds, and what is another order."""

from pathlib import Path

import keras
import numpy as np
import pytest
import torch

from onnx2mvit import convert
from tests.support.graphs import model, save

IMAGE = "float[N,12,8,10] x"
APART, MOVED, JOINED = [0, 3, 2, 2, 8, 10], "0, 1, 4, 2, 5, 3", [0, 3, 16, 20]


def network(folder: Path, nodes: str, image: str = IMAGE) -> Path:
    made = model(f"g ({image}) => (float[N,C,H,W] y) {{ {nodes} }}", apart=APART, joined=JOINED)
    return save(made, folder)


def written_out(perm: str) -> str:
    nodes = f"a = Reshape(x, apart) b = Transpose<perm=[{perm}]>(a) c = Reshape(b, joined)"
    return f"{nodes} y = Tanh(c)"


@pytest.mark.parametrize(
    ("nodes", "recognised"),
    [
        ('c = DepthToSpace<blocksize=2, mode="CRD">(x) y = Tanh(c)', True),
        (written_out(MOVED), True),
        (written_out("0, 1, 4, 3, 5, 2"), False),  # columns before rows
        ("c = DepthToSpace<blocksize=2>(x) y = Tanh(c)", False),  # depth first
    ],
)
def test_where_it_holds(tmp_path: Path, nodes: str, recognised: bool) -> None:
    result = convert(network(tmp_path, nodes), tmp_path / "out", inputs=2)
    assert result.passed
    assert (result.blocks[0].kind == "PixelShuffle") == recognised


def test_it_answers_as_torch_at_any_size(tmp_path: Path) -> None:
    nodes = 'c = DepthToSpace<blocksize=2, mode="CRD">(x) y = Tanh(c)'
    file = network(tmp_path, nodes, "float[N,12,H,W] x")
    result = convert(file, tmp_path / "out", inputs=2, image_size="any")
    assert result.passed
    images = np.random.default_rng(0).normal(size=(2, 5, 7, 12)).astype("float32")
    ours = keras.ops.convert_to_numpy(result.model(images))
    shuffled = torch.pixel_shuffle(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()), 2)
    np.testing.assert_allclose(ours.transpose(0, 3, 1, 2), shuffled.tanh().numpy(), atol=1e-6)
