"""What cannot be deployed, or answers wrongly, is one message and a code."""

import json
import shutil
import sys
from pathlib import Path

import pytest

import onnx2mvit
from onnx2mvit.base.optional import import_tensorflow
from onnx2mvit.deployment.litert import refuse_flex
from onnx2mvit.errors import MissingDependencyError, UnsupportedError
from onnx2mvit.runtimes import Inputs, LiteRTRunner, Outputs
from tests.support.command_line import exit_code

for package in ("ai_edge_litert", "ai_edge_quantizer", "tf2onnx"):
    pytest.importorskip(package)

pytestmark = pytest.mark.xdist_group("deploy")  # its fixtures are slow to make


def test_operators_of_tensorflow_are_refused() -> None:
    tensorflow = import_tensorflow()
    module = tensorflow.Module()
    signature = [tensorflow.TensorSpec((4, 4), "float32")]
    module.root = tensorflow.function(tensorflow.linalg.cholesky, input_signature=signature)
    made = module.root.get_concrete_function()
    converter = tensorflow.lite.TFLiteConverter.from_concrete_functions([made], module)
    converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.SELECT_TF_OPS]
    with pytest.raises(UnsupportedError, match="FlexCholesky"):
        refuse_flex(converter.convert())


def test_a_wrong_answer_is_a_failure_with_5(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = LiteRTRunner.__call__

    def wrong(self: LiteRTRunner, inputs: Inputs) -> Outputs:
        return {name: array + 0.01 for name, array in answer(self, inputs).items()}

    monkeypatch.setattr(LiteRTRunner, "__call__", wrong)
    assert exit_code("deploy", classifier, "--inputs", 1, "-o", tmp_path) == 5
    report = json.loads((tmp_path / "small_litert_float32/deploy.json").read_text())
    assert report["verdict"] == "failed"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--format", "onnx", "--precision", "int8"), 2, "int8 is for litert"),
        (("--image-size", "16"), 2, "from 32 to 8192"),
        (("--batch", "0"), 2, "greater than or equal to 1"),
        (("--format", "pdf"), 2, "is not one of"),
        (("--images", "nowhere"), 2, "not a folder of images"),
        (("--onnx", "nowhere.onnx"), 3, "nowhere.onnx does not exist"),
        (("-o", "/proc/nowhere"), 1, "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_one_message_and_a_code(
    classifier: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    assert exit_code("deploy", classifier, "-o", tmp_path / "out", *arguments) == code
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err
    assert not list(tmp_path.rglob("*.tflite"))


def test_what_is_no_converted_model_is_refused_with_3(tmp_path: Path) -> None:
    assert exit_code("deploy", tmp_path) == 3


def test_a_model_of_no_images_has_no_image_size(tmp_path: Path) -> None:
    import keras

    numbers = keras.Input((6,))
    keras.Model(numbers, keras.layers.Dense(2)(numbers)).save(tmp_path / "net.keras")
    assert exit_code("deploy", tmp_path / "net.keras", "-o", tmp_path, "--image-size", 64) == 2


def test_a_folder_of_someone_else_is_left_alone(classifier: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "small_litert_float32"
    theirs.mkdir()
    (theirs / "diary.txt").write_text("mine")
    assert exit_code("deploy", classifier, "-o", tmp_path) == 2
    assert (theirs / "diary.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("missing", "arguments"),
    [
        ("ai_edge_litert.interpreter", {}),
        ("ai_edge_quantizer.quantizer", {"precision": "int8"}),
        ("tf2onnx.handler", {"format": "onnx"}),
    ],
)
def test_a_package_that_is_missing_is_named(
    classifier: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    missing: str,
    arguments: dict[str, str],
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    apart = Path(shutil.copy(classifier / "small.keras", tmp_path))  # from its ONNX file
    with pytest.raises(MissingDependencyError, match=r"onnx2mvit\[deploy\]"):
        onnx2mvit.deploy(apart, tmp_path, **arguments)  # type: ignore[arg-type]
