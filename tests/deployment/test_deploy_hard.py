"""A model with hard swish in the place of SiLU is deployed as what it is, not as its file is."""

from pathlib import Path

import onnx
import pytest

import onnx2mvit
from onnx2mvit.builder import build
from tests.deployment.conftest import SMALL
from tests.support.graphs import model, save

pytestmark = pytest.mark.xdist_group("deploy-hard")


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("hard")
    made = model(SMALL, w=(16, 3, 3, 3), b=(16,), v=(10, 16), d=(10,))
    file = save(made, output, "small.onnx")
    return onnx2mvit.convert(file, output, verify=False, hard_activations=True).folder


def test_litert_has_one_operator_for_it(hard: Path, tmp_path: Path) -> None:
    deployed = onnx2mvit.deploy(hard, tmp_path)
    assert deployed.passed
    assert deployed.report["operators"]["HARD_SWISH"] == 1
    assert "LOGISTIC" not in deployed.report["operators"]
    note = "compared with the Keras model: its activations are not those of small.onnx"
    assert note in deployed.report["notes"]


def test_onnx_is_written_from_the_graph_with_one_node_for_it(hard: Path, tmp_path: Path) -> None:
    trained = build(hard)
    trained.set_weights([1.01 * each for each in trained.get_weights()])
    trained.save(hard / "trained.keras")
    for target in (hard, hard / "trained.keras"):
        deployed = onnx2mvit.deploy(target, tmp_path, format="onnx")
        assert deployed.passed
        assert not any("tf2onnx" in note for note in deployed.report["notes"])
        ops = [node.op_type for node in onnx.load(deployed.file).graph.node]
        assert ops.count("HardSwish") == 1 and "Sigmoid" not in ops


def test_the_model_as_the_file_has_it_is_compared_with_the_file(hard: Path, tmp_path: Path) -> None:
    build(hard, activation="silu").save(hard / "own.keras")
    deployed = onnx2mvit.deploy(hard / "own.keras", tmp_path, format="onnx")
    assert deployed.passed
    assert deployed.report["comparison"]["against"] == "onnxruntime on small.onnx"
