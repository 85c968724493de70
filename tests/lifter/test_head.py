"""The head of a network may be left out or made anew, whatever follows its logits."""

from pathlib import Path
from typing import Any

import pytest

import onnx2mvit
from onnx2mvit.builder import build
from onnx2mvit.errors import UsageError
from onnx2mvit.lifter.head import head_of
from tests.support.graphs import model, save

START = "g (float[N,3,8,8] image) => (float[N,5] y) { c = Conv(image, k)  r = Relu(c)"
POOLED = f"{START}  p = GlobalAveragePool(r)  d = Dropout(p)  f = Flatten(d)  z = Gemm(f, w, b)"
WEIGHTS: dict[str, Any] = {"k": (4, 3, 1, 1), "w": (4, 5), "b": (5,)}
FLAT: dict[str, Any] = {"k": (4, 3, 1, 1), "w": (6, 5), "b": (5,), "v": (256, 6), "a": (6,)}
HEADS = {
    "logits": (f"{POOLED} y = Flatten(z) }}", WEIGHTS, True),
    "softmax": (f"{POOLED} y = Softmax(z) }}", WEIGHTS, True),
    "softmax of axis 1": (f"{POOLED} y = Softmax<axis=1>(z) }}", WEIGHTS, True),
    "log of it": (f"{POOLED} y = LogSoftmax(z) }}", WEIGHTS, True),
    "sigmoid, dropout": (f"{POOLED} s = Sigmoid(z)  y = Dropout(s) }}", WEIGHTS, True),
    "linear layers": (
        f"{START}  f = Flatten(r)  h = Gemm(f, v, a)  i = Relu(h)  d = Dropout(i)"
        "  z = Gemm(d, w, b)  y = Softmax(z) }",
        FLAT,
        False,
    ),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_can_be_made_anew_whatever_follows_it(tmp_path: Path, name: str) -> None:
    text, weights, separable = HEADS[name]
    file = save(model(text, **weights), tmp_path, "net.onnx")
    result = onnx2mvit.convert(file, tmp_path, head=7, verify=False)
    assert result.model.output_shape == (None, 7)
    assert build(result.folder, num_classes=5).output_shape == (None, 5)
    if separable:
        assert build(result.folder, include_top=False).output_shape == (None, 8, 8, 4)
    else:
        with pytest.raises(UsageError, match="cannot be left out"):
            onnx2mvit.convert(file, tmp_path, head="none", verify=False)


def test_the_first_cause_is_named_where_there_is_none(tmp_path: Path) -> None:
    file = save(model("g (float[N,3,8,8] x) => (float[N,3,8,8] y) { y = Sin(x) }"), tmp_path)
    with pytest.raises(UsageError, match="no classifier at its end, where Sin is"):
        onnx2mvit.convert(file, tmp_path, head=7, verify=False)


def test_a_softmax_over_other_than_the_classes_is_no_part_of_a_head(tmp_path: Path) -> None:
    text = f"{POOLED} y = Softmax<axis=0>(z) }}"
    network = onnx2mvit.inspect(save(model(text.replace("N,", "2,"), **WEIGHTS), tmp_path))
    assert head_of(network) is None


def test_a_hidden_layer_as_wide_as_the_classes_keeps_its_weights(tmp_path: Path) -> None:
    text = POOLED.replace("z = Gemm", "h = Gemm(f, v, a)  i = Relu(h)  z = Gemm")
    text = text.replace("Gemm(f, w, b)", "Gemm(i, w, b)") + "  y = Identity(z) }"
    weights = WEIGHTS | {"v": (4, 5), "a": (5,), "w": (5, 5)}
    network = onnx2mvit.inspect(save(model(text, **weights), tmp_path))
    head = head_of(network)
    assert head is not None
    (last,) = head.layers
    leaves = [leaf for block in head.blocks for leaf in block.walk() if "units" in leaf.params]
    assert [leaf.path == last for leaf in leaves] == [False, True]
