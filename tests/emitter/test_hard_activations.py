"""`--hard-activations`: hard swish in the place of SiLU, after the proof with the file's own."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import onnx2mvit
from onnx2mvit.builder import activations_of, build, import_module
from onnx2mvit.builder.layers import layers_by_path
from onnx2mvit.builder.weights import variables_by_path
from onnx2mvit.emitter import emit
from onnx2mvit.errors import UsageError
from onnx2mvit.exporter.torch_export import Request
from tests.support import torch_mobilevit
from tests.support.command_line import exit_code
from tests.support.graphs import model, save
from tests.support.networks import exported
from tests.support.skeletons import FOLDER, fill

pytestmark = pytest.mark.xdist_group("hard-activations")

SINGLE = """g (float[N,3,8,8] x) => (float[N,3] y) {
    s = Sigmoid(x)  a = Mul(s, x)  g = Swish(a)  w = Swish<alpha=2.0>(g)
    r = Relu(w)  y = ReduceMean<keepdims=0>(r, axes)
}"""


FAMILIES = (  # that have SiLU, each in a way of its own
    "cvnets-ssd-mobilevit_s.dynamo",
    "hf-mobilevitv2_050.dynamo.dynb",
    "timm-coatnet_rmlp_nano_rw_224.dynamo.raw.dynb",
    "timm-efficientnet_b0.legacy17.bn.dynb",
    "timm-maxvit_rmlp_pico_rw_256.legacy17.bn.dynb",
    "timm-rexnet_100.dynamo.raw.dynb",
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = torch_mobilevit.MobileViT(torch_mobilevit.Config(("hf",)))
    folder = tmp_path_factory.mktemp("file")
    return exported(network.eval(), Request("legacy", 17, False, True), folder)


@pytest.fixture(scope="module")
def swapped(file: Path, tmp_path_factory: pytest.TempPathFactory) -> onnx2mvit.Conversion:
    output = tmp_path_factory.mktemp("out")
    return onnx2mvit.convert(file, output, inputs=4, hard_activations=True)


def paths(network: keras.Model) -> dict[str, Any]:
    return {path: np.array(each) for path, each in variables_by_path(network)}


def of_function(network: keras.Model, function: str) -> list[str]:
    """The paths of the layers with this activation."""
    found = ((path, getattr(each, "activation", None)) for path, each in layers_by_path(network))
    return [path for path, each in found if getattr(each, "__name__", "") == function]


def test_all_silu_becomes_hard_swish_and_the_layers_keep_names_and_weights(
    swapped: onnx2mvit.Conversion,
) -> None:
    own = build(swapped.folder, activation="silu")
    before, after = activations_of(own), activations_of(swapped.model)
    assert before["silu"] > 8 and before["hard_silu"] == 0
    assert any("global_rep" in path for path in of_function(own, "silu"))  # a transformer's, too
    assert of_function(swapped.model, "hard_silu") == of_function(own, "silu")
    assert after["hard_silu"] == before["silu"] and after["silu"] == 0
    assert after.total() == before.total()
    ours, theirs = paths(swapped.model), paths(own)
    assert list(ours) == list(theirs)
    assert all((ours[path] == theirs[path]).all() for path in ours)


def test_the_proof_is_of_the_files_own_and_the_report_says_how_far_the_other_is(
    file: Path, swapped: onnx2mvit.Conversion
) -> None:
    report = swapped.report
    assert swapped.passed and report["verification"]["max_rel_error"] < 1e-5
    found = report["hard_activations"]
    assert found["layers"] == activations_of(swapped.model)["hard_silu"] and found["left"] == 0
    far = found["distance"]
    assert far["images"] == "4 structured images (seed 0)"
    assert far["max_rel_error"] > 1e-2 and 0 < far["sqnr_db"] < 40
    (warning,) = swapped.warnings
    assert "another function than the file" in warning and f"{far['sqnr_db']:.1f} dB" in warning
    assert "with SiLU; this one has hard swish" in repr(swapped)
    assert "Not the function of the file" in (swapped.folder / "report.html").read_text()
    assert onnx2mvit.verify(file, swapped.folder, inputs=1).passed
    with pytest.raises(UsageError, match="hard swish in the place of the file's SiLU"):
        onnx2mvit.verify(file, swapped.source.with_suffix(".keras"))


def test_what_is_saved_is_stock_and_what_the_module_makes(swapped: onnx2mvit.Conversion) -> None:
    pixels = np.random.default_rng(0).uniform(size=(2, 32, 32, 3)).astype("float32")
    stored = keras.models.load_model(swapped.source.with_suffix(".keras"))
    right = np.array(swapped.model(pixels))
    assert (np.array(stored(pixels)) == right).all()
    assert (np.array(build(swapped.folder)(pixels)) == right).all()
    assert not (np.array(build(swapped.folder, activation="silu")(pixels)) == right).all()
    flat = build(swapped.folder, nested=False)
    assert activations_of(flat) == activations_of(swapped.model)
    relu = build(swapped.folder, activation="relu6", num_classes=3)
    assert activations_of(relu)["relu6"] == activations_of(swapped.model)["hard_silu"]


def test_a_module_that_was_not_asked_for_it_has_no_such_argument(file: Path) -> None:
    network = onnx2mvit.inspect(file)
    assert "activation=activation" in emit(network, "net", "0", hard_activations=True)
    assert "activation=activation, name" not in model_function(emit(network, "net", "0"))


def model_function(source: str) -> str:
    return source[source.index("def net(") :]


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_no_family_keeps_a_silu(name: str, tmp_path: Path) -> None:
    network = onnx2mvit.inspect(fill(FOLDER / f"{name}.onnx.xz", tmp_path))
    module = tmp_path / "net.py"
    module.write_text(emit(network, "net", "0", hard_activations=True), encoding="utf-8")
    found = activations_of(import_module(module).net(weights=None))
    assert found["hard_silu"] > 10 and found["silu"] == 0


def test_single_operators_are_swapped_and_other_functions_stay(tmp_path: Path) -> None:
    path = save(model(SINGLE, opset=24, axes=np.array([2, 3])), tmp_path, "single.onnx")
    result = onnx2mvit.convert(path, tmp_path / "out", inputs=2, hard_activations=True)
    assert result.passed
    assert activations_of(result.model) == {"hard_silu": 2, "relu": 1}


RELU = "g (float[N,3,8,8] x) => (float[N,3,8,8] y) { r = Relu(x)  y = Sigmoid(r) }"


def test_a_network_without_silu_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(model(RELU), tmp_path, "plain.onnx")
    output = tmp_path / "out"
    assert exit_code("convert", path, "--hard-activations", "--output", output, "--quiet") == 2
    assert capsys.readouterr().err.strip() == (
        "error: plain.onnx has no SiLU in whose place hard swish could stand: its activations are "
        "relu, sigmoid"
    )
    assert not output.exists()
