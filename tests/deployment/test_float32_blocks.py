"""int8 with the blocks that stay in float32 by name: what was trained so is what is deployed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnx2mvit
from onnx2mvit.builder import load
from onnx2mvit.errors import UsageError
from onnx2mvit.runtimes import LiteRTRunner, sqnr_db
from onnx2mvit.runtimes.comparison import compare
from tests.support.command_line import Run

for package in ("ai_edge_litert", "ai_edge_quantizer"):
    pytest.importorskip(package)

pytestmark = pytest.mark.xdist_group("deploy")
CONV, HEAD = "conv_bn_act_0", "classifier_0"


@pytest.mark.parametrize("float32", [[], [CONV]])
def test_a_file_answers_what_it_was_trained_to(
    classifier: Path, tmp_path: Path, float32: list[str]
) -> None:
    made = onnx2mvit.deploy(classifier, tmp_path, precision="int8", float32=float32)
    assert {loss.block for loss in made.losses if loss.precision == "float32"} == {*float32}
    pixels = np.random.default_rng(0).random((1, 32, 32, 3), dtype=np.float32)
    model = load(classifier)
    plain = np.array(model(pixels))
    with onnx2mvit.quantization_aware(model, float32=float32):
        ours = np.array(model(pixels))
    file = LiteRTRunner(made.file.read_bytes())(pixels)
    near, far = (
        sqnr_db(compare({"scores": each}, file, answers=True).values()) for each in (ours, plain)
    )
    assert far is not None and far < 60
    assert near is None or near > 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"float32": ["stem"]}, f"float32 'stem': the blocks for int8 are {CONV}, {HEAD}"),
        ({"float32": [CONV, HEAD]}, "every block is to stay in float32"),
        ({"float32": CONV}, f"float32='{CONV}': give names of blocks"),
        ({"float32": [], "precision": "float32"}, "--float32 and --aware are for --precision int8"),
        ({"aware": True, "agreement": 0.9, "calibration": "."}, "--agreement seeks what --float32"),
        ({"aware": True, "format": "openvino"}, "--aware is for litert: openvino rounds otherwise"),
    ],
)
def test_names_that_make_no_sense_are_one_line(
    classifier: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        onnx2mvit.deploy(classifier, tmp_path, **{"precision": "int8", **options})
    assert not list(tmp_path.iterdir())


def test_the_command_has_the_option(classifier: Path, tmp_path: Path, run: Run) -> None:
    options = ("--precision", "int8", "--inputs", 1, "-o", tmp_path, "--json")
    made = run("deploy", classifier, *options, "--float32", HEAD)
    assert '"precision": "float32"' in made.out.partition(HEAD)[2].partition("}")[0]
    made = run("deploy", classifier, *options, "--float32", "none")
    assert made.code == 0 and '"precision": "float32"' not in made.out
    made = run("deploy", classifier, *options, "--aware")
    assert made.code == 0 and '"precision": "float32"' not in made.out


def test_a_model_that_was_trained_aware_is_compared_with_what_it_answers_so(
    classifier: Path, tmp_path: Path
) -> None:
    """Its float32 form is farther from the file than what it was trained to is."""
    plain, aware = (
        onnx2mvit.deploy(classifier, tmp_path, precision="int8", float32=[], inputs=4, aware=aware)
        for aware in (False, True)
    )
    assert aware.passed and aware.comparison.against == "the Keras model under quantization_aware"
    near, far = aware.comparison.sqnr_db, plain.comparison.sqnr_db
    assert far is not None and far < 60
    assert near is None or near > 80
