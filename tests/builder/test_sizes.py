"""Any size: emitted functions against torch, at sizes that the file was not made for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch

import onnx2mvit
from onnx2mvit.builder import build, load
from onnx2mvit.errors import UnsupportedError, UsageError
from onnx2mvit.exporter import export
from onnx2mvit.exporter.models import load as load_torch
from onnx2mvit.exporter.torch_export import Request
from onnx2mvit.ir.image_size import parse_image_size, parse_size
from onnx2mvit.runtimes import structured_images
from onnx2mvit.verifier.other_size import look_at
from tests.support.graphs import model, save
from tests.support.networks import exported
from tests.support.skeletons import USUAL
from tests.support.torch_mobilevit import Config, MobileViT

pytestmark = pytest.mark.xdist_group("sizes")  # its fixtures are slow to make

# 250×310 is not filled by patches: there the source stretches and shrinks.
SIZES = [(192, 256), (250, 310)]
TOLERANCE = 2e-5  # absolute, at logits of about 10

OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in ("mobilevit_xs", "mobilevit_s")]
Torch = Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]
Networks = tuple[Torch, onnx2mvit.Conversion, onnx2mvit.Conversion]


@pytest.fixture(scope="module", params=["mobilevit_xxs", *OTHERS])
def networks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Networks:
    """A network in torch, and conversions from a file made at 256×256: any size, and the last."""
    folder = tmp_path_factory.mktemp(request.param)
    export(request.param, folder / "net.onnx", weights="random", exporter="legacy")
    module = load_torch(request.param, "random", seed=0, num_labels=None, warn=print).model
    module.train(False)

    def answer(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        with torch.no_grad():
            return np.asarray(module(torch.from_numpy(images)).logits.numpy())

    any_size, fixed = (
        onnx2mvit.convert(folder / "net.onnx", folder / str(size), verify=False, image_size=size)
        for size in ("any", SIZES[-1])
    )
    return answer, any_size, fixed


def differ(ours: Any, theirs: np.ndarray[Any, Any]) -> float:
    return float(np.abs(keras.ops.convert_to_numpy(ours) - theirs).max())


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_it_answers_as_torch_at_any_size(networks: Networks, size: tuple[int, int]) -> None:
    torch_model, any_size, fixed = networks
    pixels = structured_images(2, *size, 3)
    expected = torch_model(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    assert 2 < np.abs(expected).max() < 40
    assert differ(any_size.model(pixels), expected) <= TOLERANCE
    model = fixed.model if size == SIZES[-1] else build(fixed.folder, input_shape=(*size, 3))
    assert model.input_shape == (None, *size, 3)
    assert differ(model(pixels), expected) <= TOLERANCE


def test_a_model_for_any_size_loads_with_the_layers_of_its_module(
    networks: Networks,
) -> None:
    _, result, _ = networks
    assert result.model.input_shape == (None, None, None, 3)
    own = {type(layer).__name__ for layer in _leaves(result.model) if _is_own(layer)}
    assert own == {"Unfold", "Fold"}
    again = load(result.folder / "net.keras")
    pixels = structured_images(1, 96, 160, 3)
    assert differ(again(pixels), keras.ops.convert_to_numpy(result.model(pixels))) == 0


def _is_own(layer: Any) -> bool:
    return not type(layer).__module__.startswith("keras.")


def _leaves(model: Any) -> list[Any]:
    inner = [_leaves(each) if isinstance(each, keras.Model) else [each] for each in model.layers]
    return [layer for group in inner for layer in group]


def test_the_proof_is_made_at_the_traced_size_and_the_report_says_so(tmp_path: Path) -> None:
    file = exported(MobileViT(Config(("hf",))), Request("legacy", 17, False, True), tmp_path)
    result = onnx2mvit.convert(file, tmp_path, name="net", image_size=(64, 96), inputs=2)
    assert result.passed
    sizes = json.loads((result.folder / "report.json").read_text())["sizes"]
    assert sizes["traced"] == [32, 32]
    assert sizes["proven"] == [[32, 32]]
    assert sizes["file_elsewhere"] is None
    assert result.report["model"]["input_shape"] == [None, 64, 96, 3]
    assert onnx2mvit.verify(file, result.folder, inputs=1).passed
    with pytest.raises(UsageError, match="64×96"):
        onnx2mvit.verify(file, result.folder / "net.keras", inputs=1)


def test_a_file_that_only_declares_any_size_is_found_out(
    filled: Callable[[str], Path], tmp_path: Path
) -> None:
    file = filled("hf-mobilevit_xxs.dynamo.dynhw")
    result = onnx2mvit.convert(file, tmp_path, name="net", image_size=(224, 224), inputs=2)
    assert result.passed
    elsewhere = result.report["sizes"]["file_elsewhere"]
    assert elsewhere["size"] == [224, 224]
    assert elsewhere["onnxruntime"] in ("fails", "differs")
    assert any("224×224" in warning for warning in result.warnings)


LINE_OF_TEXT = """g (float[N,3,48,W] x) => (float[N,w,5] y) {
    a = Relu(x)  b = AveragePool<kernel_shape=[12,4], strides=[12,4]>(a)
    c = Conv<kernel_shape=[4,1]>(b, k)  s = Squeeze(c, height)  y = Transpose<perm=[0,2,1]>(s)
}"""


def test_a_height_that_the_file_fixes_and_needs_is_refused_another(tmp_path: Path) -> None:
    """A recognizer of text in lines of 48 pixels, of any width."""
    file = save(model(LINE_OF_TEXT, opset=17, k=(5, 3, 4, 1), height=[2]), tmp_path)
    assert onnx2mvit.convert(file, tmp_path / "wide", image_size=(48, 80), inputs=2).passed
    assert onnx2mvit.convert(file, tmp_path / "any", image_size="any", inputs=2).passed
    with pytest.raises(UnsupportedError, match="images of 48×80: at 96×80 onnxruntime fails"):
        onnx2mvit.convert(file, tmp_path / "high", image_size=(96, 80), inputs=2)


def test_the_weights_fit_any_size(unproven: Callable[[str], onnx2mvit.Conversion]) -> None:
    result = unproven(USUAL)
    small = build(result.folder, input_shape=(64, 96, 3))
    assert small.count_params() == result.model.count_params()
    assert small.output_shape == (None, 1000)


@pytest.mark.parametrize(
    ("text", "size"), [("320", (320, 320)), ("192x256", (192, 256)), ("64X32", (64, 32))]
)
def test_a_size_is_one_number_or_two(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size
    assert parse_image_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "x", "0", "-3", "31", "1e3", "256x", "1x2x3", "99999", "²", "٣٢", "9" * 5000]
)
def test_anything_else_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="image size"):
        parse_image_size(text)


def test_any_is_a_size_for_conversion_alone() -> None:
    assert parse_image_size("any") == "any"
    with pytest.raises(UsageError):
        parse_size("any")


NAN_ELSEWHERE = """g (float[N,3,H,W] x) => (float[N,3,h,w] y) {
    c = Conv<pads=[1,1,1,1]>(x, w)  y = Relu(c) }"""


def test_numbers_that_are_none_at_another_size_do_not_agree(tmp_path: Path) -> None:
    file = save(model(NAN_ELSEWHERE, w=np.full((3, 3, 3, 3), 1e38)), tmp_path)  # and overflow
    network = onnx2mvit.inspect(file)
    made = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 3)])
    found = look_at(file, network, made, (64, 64))
    assert found["onnxruntime"] == "differs"
    same = keras.Sequential(
        [keras.Input((None, None, 3)), keras.layers.Conv2D(3, 3, padding="same")]
    )
    assert look_at(file, network, same, (64, 64))["onnxruntime"] == "differs"


OF_ONE_IMAGE = """g (float[1,3,32,32] x) => (float[1,3] y) {
    c = Conv(x, same)  a = Add(c, big)  s = Sub(a, big)
    r = Reshape(s, flat)  y = ReduceMean<axes=[2], keepdims=0>(r)
}"""


def test_what_only_rounding_differs_in_agrees_image_by_image(tmp_path: Path) -> None:
    """The file loses most of its places in float32, and takes one image at a time."""
    same = np.eye(3).reshape(3, 3, 1, 1)
    made = model(OF_ONE_IMAGE, opset=17, same=same, big=np.full(1, 1e5), flat=[1, 3, -1])
    file = save(made, tmp_path)
    mean = keras.Sequential([keras.Input((None, None, 3)), keras.layers.GlobalAveragePooling2D()])
    found = look_at(file, onnx2mvit.inspect(file), mean, (64, 48))
    assert (found["onnxruntime"], found["max_rel_error"] > 1e-5) == ("agrees", True)
