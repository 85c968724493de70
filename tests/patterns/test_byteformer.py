"""ByteFormer's blocks: where they hold, where not by one detail, and what they answer."""

from pathlib import Path
from typing import Any, cast

import keras
import numpy as np
import onnx
import pytest
import torch

import onnx2mvit
from onnx2mvit.builder.build import build
from onnx2mvit.exporter.torch_export import Logits, Request, to_onnx
from tests.support.networks import converted as converted_in_blocks
from tests.support.texts import Text, kinds, only, transformer
from tests.support.torch_byteformer import ByteFormer
from tests.support.torch_vit import randomize

pytestmark = pytest.mark.xdist_group("byteformer")


def network() -> torch.nn.Module:
    model = ByteFormer()
    randomize(model, 0)
    return model.eval()


def some_bytes() -> torch.Tensor:
    """Two files of 30 bytes, the second of which ends earlier."""
    found = torch.randint(0, 256, (2, 30), generator=torch.Generator().manual_seed(0))
    found[1, 20:] = -1
    return found


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> onnx2mvit.Conversion:
    folder = tmp_path_factory.mktemp("byteformer")
    request = Request("dynamo", 20, True, True)
    onnx.save(to_onnx(cast(Logits, network()), some_bytes(), request), folder / "bytes.onnx")
    return converted_in_blocks(folder / "bytes.onnx", folder)


WINDOWED = "WindowedTransformerLayer"


def test_every_block_is_its_own(result: onnx2mvit.Conversion) -> None:
    assert [block.kind for block in result.blocks] == [
        "ByteEmbedding", WINDOWED, "TokenMerging", WINDOWED, "TokenMerging", WINDOWED,
        "TokenClassifier",
    ]  # fmt: skip
    embedding, *layers = (block.params for block in result.blocks)
    assert embedding == {"vocabulary": 257, "dim": 24, "kernel_size": 4, "strides": 2}
    windowed = [(each["window_size"], each["shift"]) for each in layers if "shift" in each]
    assert windowed == [(4, 0), (4, 2), (4, 2)]


def test_it_answers_as_torch_and_is_trained(result: onnx2mvit.Conversion) -> None:
    model: Any = build(result.folder)
    with torch.no_grad():
        expected = network()(some_bytes()).numpy()
    found = keras.ops.convert_to_numpy(model(some_bytes().numpy()))
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    before = [np.array(weight) for weight in model.trainable_weights]
    model.compile(keras.optimizers.SGD(1.0), "mse", run_eagerly=True)
    model.fit(some_bytes().numpy(), np.eye(2, 5), verbose=0)
    after = [np.array(weight) for weight in model.trainable_weights]
    assert all((old != new).any() for old, new in zip(before, after, strict=True))


@pytest.mark.slow
def test_it_runs_as_litert(result: onnx2mvit.Conversion, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    assert onnx2mvit.deploy(result.folder, tmp_path, inputs=2).passed


WHOLE, SHORT = "float[16,8,8]", "float[16,7,8]"
WINDOWS = {"windows": [32, 4, 8], "whole": [16, 8, 8]}
PLAIN = (
    Text("w = Reshape(x, windows)\n", WINDOWS)
    + transformer("w", "t")
    + Text("y = Reshape(t, whole)\n")
)
SHIFTED = PLAIN.but("Reshape(x, windows)", "Reshape(r, windows)").but(
    "y = Reshape(t, whole)",
    """u = Reshape(t, whole)  c = Slice(u, ce, end, one)  d = Slice(u, zero, ce, one)
    y = Concat<axis=1>(c, d)""",
    ce=[7], end=[8], zero=[0], one=[1],
)  # fmt: skip
ROLL = Text("a = Slice(x, zero, b1, one)  b = Slice(x, b1, end, one)  r = Concat<axis=1>(b, a)\n")
FILLED = PLAIN.but("Reshape(x, windows)", "Reshape(f, windows)").but(
    "y = Reshape(t, whole)", "u = Reshape(t, whole)  y = Slice(u, zero, seven, one)",
    zero=[0], seven=[7], one=[1],
)  # fmt: skip
PAD = Text("f = Pad(x, pads, nought)\n", {"pads": [0, 0, 0, 0, 1, 0], "nought": 0.0})


@pytest.mark.parametrize(
    ("text", "image", "shift"),
    [
        (PLAIN, WHOLE, 0),
        (ROLL + SHIFTED.having(b1=[1]), WHOLE, 1),
        (PAD + FILLED, SHORT, 0),
    ],
)
def test_a_layer_in_windows(tmp_path: Path, text: Text, image: str, shift: int) -> None:
    block = only(text.lifted(tmp_path, image=image), WINDOWED)
    assert (block.window_size, block.shift, block.num_heads) == (4, shift, 2)


@pytest.mark.parametrize(
    ("text", "image", "reason"),
    [
        (ROLL + SHIFTED.having(b1=[2]), WHOLE, "it is not rolled back"),
        (PAD.having(pads=[0, 1, 0, 0, 0, 0]) + FILLED, SHORT, "it does not fill the last window"),
        (PAD.having(nought=1.0) + FILLED, SHORT, "it fills with other numbers"),
        (PAD + FILLED.having(zero=[1], seven=[8]), SHORT, "it gives other tokens"),
        (PAD + FILLED.having(seven=[6]), SHORT, "it gives other tokens"),
    ],
)  # fmt: skip
def test_no_layer_in_windows_by_one_detail(
    tmp_path: Path, text: Text, image: str, reason: str
) -> None:
    found = text.lifted(tmp_path, image=image)
    assert WINDOWED not in kinds(found) or not any(
        block.kind == WINDOWED and {"Slice", "Roll", "Pad"} & {n.op for n in block.onnx_nodes()}
        for block in found.blocks
    )
    assert text.reason(tmp_path, WINDOWED, image=image) == reason


MERGED = Text(
    """
    w = Gather<axis=1>(x, places)  t = Transpose<perm=[0,1,3,2]>(w)  j = Reshape(t, joined)
    d = MatMul(j, kernel)  y = LayerNormalization<axis=-1>(d, gamma, beta)
    """,
    {"places": [[0, 1], [2, 3], [4, 5], [6, 7]], "joined": [16, 4, 16], "kernel": (16, 8),
     "gamma": (8,), "beta": (8,)},
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "image", "reason"),
    [
        (MERGED, WHOLE, None),
        (PAD + MERGED.but("Gather<axis=1>(x", "Gather<axis=1>(f"), SHORT, None),
        (MERGED.having(places=[[0, 2], [1, 3], [4, 5], [6, 7]]), WHOLE,
         "its windows do not follow each other"),
        (MERGED.having(kernel=(16, 9), gamma=(9,), beta=(9,)), WHOLE,
         "it makes 9 channels of 8"),
        (PAD.having(pads=[0, 1, 0, 0, 0, 0]) + MERGED.but("axis=1>(x", "axis=1>(f"), SHORT,
         None),
    ],
)  # fmt: skip
def test_tokens_that_are_merged(tmp_path: Path, text: Text, image: str, reason: str | None) -> None:
    assert ("TokenMerging" in kinds(text.lifted(tmp_path, image=image))) == (reason is None)
    assert reason is None or text.reason(tmp_path, "TokenMerging", image=image) == reason


ALONG = Text(
    "a = Transpose<perm=[0,2,1]>(x)  c = Conv<strides=[2]>(a, k)  y = Transpose<perm=[0,2,1]>(c)",
    {"k": (6, 8, 3)},
)


@pytest.mark.parametrize(
    ("attrs", "reason"),
    [
        ("strides=[2]", None),
        ("strides=[2], pads=[1,1]", "it pads the tokens"),
        ("dilations=[2]", "it is dilated"),
    ],
)
def test_a_convolution_along_tokens(tmp_path: Path, attrs: str, reason: str | None) -> None:
    text = ALONG.but("strides=[2]", attrs)
    found = kinds(text.lifted(tmp_path, image=WHOLE))
    assert found == (set() if reason else {"Conv1D"})
    assert reason is None or text.reason(tmp_path, "Conv1D", image=WHOLE) == reason
