"""ONNX files: from the lifted graph with the weights of the model, or by tf2onnx without one."""

import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import onnx2mvit
from onnx2mvit.builder import build
from onnx2mvit.deployment import Deployment
from onnx2mvit.errors import UnsupportedError
from tests.support.command_line import exit_code
from tests.support.graphs import model, save

pytestmark = pytest.mark.xdist_group("deploy-onnx")

pytest.importorskip("tf2onnx")

BY_TF2ONNX = "written by tf2onnx"
GROUPS = """g (float[N,4,8,8] pixels) => (float[N,6] scores) {
    c = Conv<pads=[1,1,1,1], group=2>(pixels, w, b)  r = Relu(c)
    p = GlobalAveragePool(r)  f = Flatten<axis=1>(p)  scores = Gemm<transB=1>(f, v, d) }"""
TOKENS = """g (float[N,3,32,32] pixels) => (float[N,10] scores) {
    c = Conv<strides=[8,8]>(pixels, w, b)  r = Reshape(c, shape)  t = Transpose<perm=[0,2,1]>(r)
    p = Add(t, positions)  h = MatMul(p, v)  g = Gelu(h)
    m = ReduceMean<keepdims=0>(g, axis)  scores = Gemm<transB=1>(m, u, d)
}"""
ODD = """g (float[2,3,6,6] pixels) => (float[2,6,5,5] y) {
    c = Conv(pixels, w, b)  p = MaxPool<kernel_shape=[2,2]>(c)
    r = Resize<mode="linear", coordinate_transformation_mode="half_pixel">(c, , , sizes)
    y = Concat<axis=1>(p, r)
}"""

# What stands out of a million is taken off: float32 has three digits of what is left.
ILL_CONDITIONED = """g (float[N,3,20,20] x) => (float[N,4,20,20] y) {
    c = Conv<pads=[1,1,1,1]>(x, w, b)  m = ReduceMean<axes=[2,3]>(c)
    d = Sub(c, m)  y = Conv<pads=[1,1,1,1]>(d, v) }"""


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A converted classifier with a convolution in groups; its ONNX file is beside it."""
    output = tmp_path_factory.mktemp("grouped")
    made = model(GROUPS, w=(4, 2, 3, 3), b=(4,), v=(6, 4), d=(6,))
    return onnx2mvit.convert(save(made, output, "net.onnx"), output, verify=False).folder


def deployed(target: Path, output: Path, **options: Any) -> Deployment:
    return onnx2mvit.deploy(target, output / "deployed", format="onnx", inputs=4, **options)


def said(made: Deployment, words: str) -> bool:
    return any(words in note for note in made.report["notes"])


def test_convolutions_in_groups_are_written_from_the_graph(grouped: Path, tmp_path: Path) -> None:
    made = deployed(grouped, tmp_path)
    assert made.passed and not made.report["notes"]
    assert made.comparison.against == "onnxruntime on net.onnx"


@pytest.mark.parametrize("head", [6, 3, "none"])
def test_a_model_that_was_trained_further_is_written_with_its_weights(
    grouped: Path, tmp_path: Path, head: int | str
) -> None:
    top = {"include_top": False} if head == "none" else {"num_classes": head}
    trained = build(grouped, **top)
    rng = np.random.default_rng(0)
    trained.set_weights([rng.normal(size=each.shape) for each in trained.get_weights()])
    trained.save(tmp_path / "trained.keras")
    made = deployed(tmp_path / "trained.keras", tmp_path, onnx=grouped.parent / "net.onnx")
    assert made.passed and not said(made, BY_TF2ONNX)
    assert made.comparison.against == "the Keras model"
    assert said(made, "weights are not those of net.onnx")
    assert made.report["outputs"][0]["shape"][-1] == (4 if head == "none" else head)


def test_what_was_changed_otherwise_is_written_by_tf2onnx(tmp_path: Path) -> None:
    made = model(GROUPS.replace("group=2", "group=1"), w=(4, 4, 3, 3), b=(4,), v=(6, 4), d=(6,))
    folder = onnx2mvit.convert(save(made, tmp_path, "net.onnx"), tmp_path, verify=False).folder
    plain = build(folder)
    squared = keras.Model(plain.inputs, keras.ops.square(plain.outputs[0]), name="net")
    squared.save(tmp_path / "squared.keras")
    found = deployed(tmp_path / "squared.keras", tmp_path, onnx=tmp_path / "net.onnx")
    assert said(found, f"{BY_TF2ONNX} from the Keras model: it is not what net.onnx computes")


def test_rounding_alone_is_no_reason_for_tf2onnx(tmp_path: Path) -> None:
    made = model(ILL_CONDITIONED, opset=17, w=(4, 3, 3, 3), b=np.full(4, 1e6), v=(4, 4, 3, 3))
    folder = onnx2mvit.convert(save(made, tmp_path, "net.onnx"), tmp_path, verify=False).folder
    found = deployed(folder, tmp_path)
    assert found.passed and not said(found, BY_TF2ONNX)
    assert found.comparison.max_rel_error > 1e-3


def test_images_have_their_channels_first_if_that_is_asked_for(
    grouped: Path, tmp_path: Path
) -> None:
    import onnxruntime

    made = deployed(grouped, tmp_path, data_format="channels_first")
    assert made.passed
    (pixels,) = made.report["inputs"]
    assert pixels["axes"] == ["batch", "channels", "height", "width"]
    assert pixels["shape"] == [None, 4, 8, 8]
    (given,) = onnxruntime.InferenceSession(made.file).get_inputs()
    assert given.shape[1:] == [4, 8, 8]
    apart = tmp_path / "apart.keras"
    shutil.copy(grouped / "net.keras", apart)
    with pytest.raises(UnsupportedError, match="channels come first in the lifted graph alone"):
        deployed(apart, tmp_path, data_format="channels_first")
    arguments = ("--data-format", "channels_first", "-o", tmp_path)
    assert exit_code("deploy", grouped, *arguments) == 2  # as litert


def test_what_holds_for_the_images_of_the_file_alone_is_not_written(tmp_path: Path) -> None:
    """Tried on as many as the file is for, a constant for each of them would go unnoticed."""
    import onnxruntime

    text = """g (float[2,4,8,8] pixels) => (float[2,4,8,8] y) {
        c = Conv(pixels, w)  y = Einsum<equation="...hw,...hw->...hw">(c, k) }"""
    made = model(text, w=(4, 4, 1, 1), k=np.stack([np.arange(256.0).reshape(4, 8, 8)] * 2))
    folder = onnx2mvit.convert(save(made, tmp_path, "net.onnx"), tmp_path, verify=False).folder
    found = deployed(folder, tmp_path)
    assert found.passed and said(found, BY_TF2ONNX)
    five = np.ones((5, 8, 8, 4), np.float32)
    (y,) = onnxruntime.InferenceSession(found.file).run(None, {"pixels": five})
    assert len(y) == 5


@pytest.mark.parametrize("by", ["graph", "tf2onnx"])
def test_tokens_of_any_number_of_images(tmp_path: Path, by: str) -> None:
    """The error function of an exact GELU, and constants that are added: a ViT has both."""
    weights: dict[str, Any] = {"w": (8, 3, 8, 8), "b": (8,), "v": (8, 12), "u": (10, 12)}
    weights |= {"d": (10,), "positions": (1, 16, 8)}
    weights |= {"shape": np.array([0, 8, 16]), "axis": np.array([1])}
    path = save(model(TOKENS, opset=20, **weights), tmp_path, "tokens.onnx")
    target = onnx2mvit.convert(path, tmp_path, verify=False).folder
    if by == "tf2onnx":
        (tmp_path / "apart").mkdir()
        target = Path(shutil.copy(target / "tokens.keras", tmp_path / "apart"))
    made = deployed(target, tmp_path)
    assert made.passed
    assert said(made, BY_TF2ONNX) == (by == "tf2onnx")


@pytest.mark.parametrize("by", ["graph", "tf2onnx"])
def test_an_onnx_file_resizes_to_the_very_pixel(tmp_path: Path, by: str) -> None:
    """6 times the float32 of 5/6 is less than 5; a MobileViT block at odd sizes has that."""
    made = model(ODD, w=(3, 3, 1, 1), b=(3,), sizes=np.array([2, 3, 5, 5]))
    target = onnx2mvit.convert(save(made, tmp_path, "odd.onnx"), tmp_path, verify=False).folder
    if by == "tf2onnx":
        (tmp_path / "apart").mkdir()
        target = Path(shutil.copy(target / "odd.keras", tmp_path / "apart"))
    found = deployed(target, tmp_path, batch=2)
    assert found.passed
    assert said(found, BY_TF2ONNX) == (by == "tf2onnx")


def test_what_tf2onnx_cannot_write_is_refused_with_a_reason(tmp_path: Path) -> None:
    inputs = keras.Input((8, 8, 4))
    for outputs, reason in (
        (keras.ops.erfinv(keras.ops.tanh(inputs)), "Erfinv"),
        (keras.layers.Conv2D(4, 3, groups=2)(inputs), "grouped convolution"),
        (inputs + keras.ops.ones((8, 8, 4)), "constants for inputs"),
    ):
        keras.Model(inputs, outputs, name="net").save(tmp_path / "net.keras")
        with pytest.raises(UnsupportedError, match=f"tf2onnx cannot write this model.*{reason}"):
            onnx2mvit.deploy(tmp_path / "net.keras", tmp_path / "out", format="onnx")
        assert not (tmp_path / "out").exists()
