"""The proof: it passes for what is right, and finds what is wrong."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

import onnx2mvit
from onnx2mvit.errors import InvalidModelError, UnsupportedError, UsageError
from onnx2mvit.runtimes import Comparison
from onnx2mvit.verifier.verification import proves_little
from tests.support.command_line import exit_code
from tests.support.graphs import model, save, with_tensors

pytestmark = pytest.mark.xdist_group("verify")  # test_mismatch has the same network

Small = tuple[Path, onnx2mvit.Conversion]


@pytest.fixture
def file(small: Small) -> Path:
    return small[0]


@pytest.fixture
def folder(small: Small) -> Path:
    return small[1].folder


def test_a_folder_and_a_keras_file_give_the_same_proof(file: Path, folder: Path) -> None:
    ours = onnx2mvit.verify(file, folder, inputs=2)
    saved = onnx2mvit.verify(file, folder / "net.keras", inputs=2)
    assert ours.passed
    assert ours == saved
    assert len(ours.blocks) > 50


def test_the_keras_file_loads_where_only_keras_and_a_backend_are(small: Small) -> None:
    code = f"""
import sys
OTHERS = ("onnx2mvit", "onnx", "onnx_ir", "onnxruntime", "onnxscript", "torch", "networkx")
class NotInstalled:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in OTHERS:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NotInstalled())
import keras
model = keras.models.load_model({str(small[1].folder / "net.keras")!r})
print(model.name, model.count_params())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd="/", check=True
    )
    assert done.stdout.split() == ["net", str(small[1].model.count_params())]


def test_a_file_in_float16_is_compared_at_its_own_precision(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float16)
    body = "g (float16[N,3,8,8] x) => (float16 y) { y = Conv(x, w) }"
    result = onnx2mvit.convert(
        save(with_tensors(body, w=weight), tmp_path), tmp_path / "out", inputs=2
    )
    proof = result.report["verification"]
    assert (result.report["onnx"]["precision"], proof["tolerance"]) == ("float16", 1e-2)
    assert proof["verdict"] == "passed" and proof["max_rel_error"] > 1e-5


def spoil(folder: Path, target: Path, key: str, change: Callable[[np.ndarray], np.ndarray]) -> Path:
    """A copy of a converted folder with one tensor changed."""
    target.mkdir()
    weights = safetensors.numpy.load_file(folder / "net.safetensors")
    weights[key] = np.ascontiguousarray(change(weights[key]))
    safetensors.numpy.save_file(weights, target / "net.safetensors")
    (target / "net.py").write_text((folder / "net.py").read_text())
    return target


QUERY = "layer_3.1/global_rep.0/pre_norm_mha_1/query/bias"


def test_a_small_fault_in_one_layer_is_found_there(
    file: Path, folder: Path, tmp_path: Path
) -> None:
    wrong = spoil(folder, tmp_path / "wrong", QUERY, lambda bias: bias + 0.05)
    result = onnx2mvit.verify(file, wrong, inputs=2)
    assert result.verdict == "failed"
    bad = [block["name"] for block in result.blocks if block["max_rel_error"] > result.tolerance]
    assert "layer_3.1.global_rep.0.pre_norm_mha.1" in bad
    # What is inside of the layers after it is fed onnxruntime's own tensors, and not accused.
    assert not any(name.startswith("layer_3.1.global_rep.1.") for name in bad)
    assert not any(name.startswith(("layer_3.0", "layer_1", "conv_1.")) for name in bad)


def test_numbers_that_are_none_fail(file: Path, folder: Path, tmp_path: Path) -> None:
    wrong = spoil(folder, tmp_path / "nan", QUERY, lambda bias: bias * np.float32(np.nan))
    result = onnx2mvit.verify(file, wrong, inputs=1)
    assert result.verdict == "failed"
    json.loads(json.dumps(result.as_dict(), allow_nan=False))


def test_exit_codes_tell_right_from_wrong(file: Path, folder: Path, tmp_path: Path) -> None:
    wrong = spoil(folder, tmp_path / "wrong", QUERY, lambda bias: bias[::-1])
    assert exit_code("verify", file, folder, "--inputs", 1) == 0
    assert exit_code("verify", file, wrong, "--inputs", 1) == 5
    assert exit_code("verify", file, tmp_path / "nothing") == 3


def test_images_of_a_folder_are_compared(
    file: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for number in range(3):
        pixels = rng.integers(0, 256, size=(300, 280 + number, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    assert exit_code("verify", file, folder, "--images", tmp_path, "--json") == 0
    proof = json.loads(capsys.readouterr().out)
    assert proof["inputs"] == 3
    assert tmp_path.name in proof["images"]


def test_an_empty_folder_of_images_is_a_usage_error(
    file: Path, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no images"):
        onnx2mvit.verify(file, folder, images=tmp_path)


def test_another_network_is_refused(file: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match="no layer"):
        onnx2mvit.verify(file, _renamed(folder, tmp_path / "other"), inputs=1)


@pytest.mark.parametrize("shapes", ["(32, 32, 3)] * 2", "(32, 32, 1)]"])
def test_a_module_that_takes_something_else_is_refused(
    file: Path, folder: Path, tmp_path: Path, shapes: str
) -> None:
    target = _renamed(folder, tmp_path / "other")
    (target / "net.py").write_text(
        "import keras\ndef net(num_classes=None, include_top=True, **how):\n"
        f"    images = [keras.Input(shape) for shape in [{shapes}]\n"
        "    return keras.Model(images, keras.layers.Flatten()(images[0]))\n"
    )
    with pytest.raises(InvalidModelError, match=r"takes \[\(None, 32, 32, .*the ONNX file"):
        onnx2mvit.verify(file, target, inputs=1)


def _renamed(folder: Path, target: Path) -> Path:
    """The converted model with another name for its stem."""
    target.mkdir()
    source = (folder / "net.py").read_text().replace('"conv_1"', '"beginning"')
    (target / "net.py").write_text(source)
    weights = safetensors.numpy.load_file(folder / "net.safetensors")
    renamed = {key.replace("conv_1_", "beginning_"): array for key, array in weights.items()}
    safetensors.numpy.save_file(renamed, target / "net.safetensors")
    return target


def test_weights_that_do_not_fit_are_listed(file: Path, folder: Path, tmp_path: Path) -> None:
    wrong = spoil(folder, tmp_path / "wrong", QUERY, lambda bias: bias[:-1])
    with pytest.raises(InvalidModelError, match=QUERY):
        onnx2mvit.verify(file, wrong, inputs=1)


@pytest.mark.parametrize(("classes", "told"), [((0, 1), False), ((1, 1), True)])
def test_masks_of_one_class_prove_little(classes: tuple[int, int], told: bool) -> None:
    output = Comparison(answers=True, pixels=1)
    for shift in range(2):
        mask = np.array(classes).reshape(1, 1, 2).repeat(2, 1)
        logits = np.moveaxis(np.eye(2)[mask], -1, 1) + shift
        output.add(logits, logits)
    notes = proves_little("logits", output)
    assert any("one class at every pixel" in note for note in notes) == told


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="others have such a softmax")
def test_what_the_backend_cannot_run_is_refused(tmp_path: Path) -> None:
    text = """g (float[N,2,2,2,2,3] x) => (float[N,2,2,2,2,3] y) {
        s = Softmax<axis=3>(x)  y = Sin(s) }"""
    with pytest.raises(UnsupportedError, match=r"backend cannot run the model: .*Softmax"):
        onnx2mvit.convert(save(model(text), tmp_path), tmp_path / "out", inputs=2)
