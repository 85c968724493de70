"""Deployed files run by themselves and answer as the network that they were made of."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnx2mvit
from onnx2mvit.base.optional import optional
from onnx2mvit.deployment import Deployment
from onnx2mvit.deployment.candidates import Loss
from onnx2mvit.deployment.choice import GOAL, SPENT, choose
from onnx2mvit.deployment.comparison import fidelity
from onnx2mvit.deployment.litert import METADATA, operators
from onnx2mvit.errors import UsageError
from onnx2mvit.exporter.torch_export import Request
from onnx2mvit.runtimes import Comparison, Inputs, LiteRTRunner, Outputs, SavedModelRunner
from tests.support.graphs import model, save
from tests.support.networks import exported
from tests.support.skeletons import USUAL
from tests.support.torch_mobilevit import Config, MobileViT

for package in ("ai_edge_litert", "ai_edge_quantizer", "tf2onnx"):
    pytest.importorskip(package)

pytestmark = pytest.mark.xdist_group("deploy")  # its fixtures are slow to make

SIZE = (64, 64)
CLASSES = "scores"
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Network:
    """A MobileViT, converted: its ONNX file, its folder, and what is known of it.

    Attributes:
        convolutions: at least so many does it have.
        names: of its input and its output; an output that is called by a number has another.
        blocks: how many have weights, and some of them.
        share: of the bytes in float32 that are left in int8.
    """

    file: Path
    folder: Path
    convolutions: int
    names: tuple[str, str]
    blocks: tuple[int, set[str]]
    share: float


@pytest.fixture(scope="module", params=["small", pytest.param("XXS", marks=pytest.mark.slow)])
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Network:
    """A network of one block of each kind, and the real one."""
    if request.param == "XXS":
        file = request.getfixturevalue("filled")(USUAL)
        folder = request.getfixturevalue("unproven")(USUAL).folder
        blocks = {"conv_stem", "encoder.layer.2", "classifier"}
        return Network(file, folder, 28, ("input", "classifier"), (13, blocks), 0.4)
    output = tmp_path_factory.mktemp("mobilevit")
    file = exported(MobileViT(Config(("hf",))), Request("legacy", 17, False, True), output)
    folder = onnx2mvit.convert(file, output, verify=False).folder
    blocks = {"conv_1", "layer_3.1", "classifier"}
    return Network(file, folder, 10, ("pixel_values", "logits"), (6, blocks), 0.6)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("deployed")


@pytest.fixture(scope="module")
def whole(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """At the size of the ONNX file, and compared with that."""
    output = tmp_path_factory.mktemp("whole")
    return onnx2mvit.deploy(network.folder, output, onnx=network.file, inputs=3)


@pytest.fixture(scope="module")
def int8(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    output = tmp_path_factory.mktemp("int8")
    return onnx2mvit.deploy(network.folder, output, precision="int8", image_size=SIZE, inputs=16)


def images(count: int) -> Array:
    return np.random.default_rng(0).uniform(size=(count, *SIZE, 3)).astype(np.float32)


def test_a_litert_file_answers_as_onnxruntime_does(network: Network, whole: Deployment) -> None:
    assert whole.passed
    assert whole.comparison.against == f"onnxruntime on {network.file.name}"
    assert 0 < whole.comparison.max_rel_error <= 1e-5
    assert whole.comparison.top1_agreement == 1


def test_a_litert_file_has_names_and_no_operator_of_tensorflow(
    network: Network, whole: Deployment
) -> None:
    content = whole.file.read_bytes()
    runner = LiteRTRunner(content)
    assert (runner.inputs, runner.outputs) == tuple([name] for name in network.names)
    found = operators(content)
    assert found["CONV_2D"] >= network.convolutions
    assert not any(name.startswith("Flex") for name in found)
    assert whole.report["operators"] == dict(found)


def test_the_report_lies_beside_the_file(whole: Deployment) -> None:
    report = json.loads((whole.folder / "deploy.json").read_text())
    assert report["verdict"] == "passed"
    assert report["file"] == whole.file.name == "net.tflite"
    assert report["bytes"] == whole.file.stat().st_size
    assert {path.name for path in whole.folder.iterdir()} == {"deploy.json", "net.tflite"}


def test_another_size_and_batch_are_compared_with_keras_and_that_is_said(
    classifier: Path, output: Path
) -> None:
    made = onnx2mvit.deploy(classifier, output, image_size=SIZE, batch=3, inputs=5)
    assert made.passed
    assert made.comparison.count == 5
    assert made.report["inputs"][0]["shape"] == [3, *SIZE, 3]
    assert any("compared with the Keras model" in note for note in made.report["notes"])
    assert LiteRTRunner(made.file.read_bytes()).batch == 3


# What stands out of a thousand is taken off: no two runtimes agree on what is left to 1e-5.
ILL_CONDITIONED = """g (float[N,3,12,12] x) => (float[N,4,12,12] y) {
    c = Conv<pads=[1,1,1,1]>(x, w, b)  m = ReduceMean<axes=[2,3]>(c)
    d = Sub(c, m)  y = Conv<pads=[1,1,1,1]>(d, v) }"""


def test_float64_tells_rounding_from_a_wrong_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = model(ILL_CONDITIONED, opset=17, w=(4, 3, 3, 3), b=np.full(4, 1e3), v=(4, 4, 3, 3))
    folder = onnx2mvit.convert(save(made, tmp_path), tmp_path, verify=False).folder
    right = onnx2mvit.deploy(folder, tmp_path / "right", inputs=2)
    assert right.comparison.max_rel_error > 1e-5
    assert right.passed and right.comparison.float64 is not None
    assert "it is rounding" in right.comparison.float64["words"]
    run = LiteRTRunner.__call__

    def wrong(self: LiteRTRunner, inputs: Inputs) -> Outputs:
        return {name: answer * 1.01 for name, answer in run(self, inputs).items()}

    monkeypatch.setattr(LiteRTRunner, "__call__", wrong)
    assert not onnx2mvit.deploy(folder, tmp_path / "wrong", inputs=2).passed


def test_float16_weights_are_float16_and_the_answers_near(classifier: Path, output: Path) -> None:
    made = onnx2mvit.deploy(classifier, output, precision="float16", inputs=4)
    assert made.passed
    assert made.comparison.against == "onnxruntime on small.onnx"  # it lies beside the folder
    assert 1e-5 < made.comparison.max_rel_error <= 1e-2
    assert made.report["operators"]["DEQUANTIZE"] >= 2


def test_int8_is_smaller_and_names_the_blocks_that_lose_most(
    network: Network, int8: Deployment, whole: Deployment
) -> None:
    assert int8.passed
    assert int8.report["bytes"] < network.share * whole.report["bytes"]
    blocks = int8.report["blocks"]
    names = [block["block"] for block in blocks]
    count, some = network.blocks  # every block of the network that has weights, and no others
    assert some <= set(names) and len(names) == count
    losses = [block["sqnr_db"] for block in blocks]
    assert losses == sorted(losses)
    assert {block["precision"] for block in blocks} == {"int8", "float32"}
    assert any("not on real images" in note for note in int8.report["notes"])


def test_int8_weights_have_a_scale_for_each_channel(int8: Deployment) -> None:
    flatbuffer_utils = optional("ai_edge_litert.tools.flatbuffer_utils", extra="deploy")
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(int8.file.read_bytes()))
    graph = model.subgraphs[0]
    scales = [
        len(tensor.quantization.scale)
        for tensor in graph.tensors
        if tensor.type == flatbuffer_utils.TensorType.INT8 and len(tensor.shape) == 4
    ]
    assert len(scales) >= 9
    assert min(scales) > 1


def test_a_saved_model_has_a_classifier_and_a_feature_extractor(
    classifier: Path, output: Path
) -> None:
    made = onnx2mvit.deploy(classifier, output, format="saved_model", image_size=SIZE, inputs=2)
    assert made.passed
    assert SavedModelRunner(made.file)(images(3))[CLASSES].shape == (3, 10)
    features = SavedModelRunner(made.file, "features")(images(3))["features"]
    assert features.shape == (3, *SIZE, 16)  # the image before the pooling
    assert made.report["signatures"] == {
        "serving_default": [CLASSES],
        "features": ["features"],
        "feature_vector": ["feature_vector"],
    }


def test_an_onnx_file_has_the_names_and_any_batch(classifier: Path, output: Path) -> None:
    import onnxruntime

    made = onnx2mvit.deploy(classifier, output, format="onnx", image_size=SIZE, inputs=2)
    assert made.passed
    session = onnxruntime.InferenceSession(made.file)
    (scores,) = session.run([CLASSES], {"pixels": images(3)})
    assert scores.shape == (3, 10)


def test_labels_and_layout_are_in_the_metadata(
    classifier: Path, output: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(f"class {number}" for number in range(10)))
    made = onnx2mvit.deploy(classifier, output, labels=labels, inputs=1)
    tools = optional("ai_edge_litert.tools.flatbuffer_utils", extra="deploy")
    written = tools.read_model_from_bytearray(bytearray(made.file.read_bytes()))
    (entry,) = (each for each in written.metadata if each.name == METADATA.encode())
    found = json.loads(bytes(written.buffers[entry.buffer].data))
    assert found["labels"][7] == "class 7"
    assert found["inputs"] == {"pixels": ["batch", "height", "width", "channels"]}
    labels.write_text("one\ntwo\n")
    with pytest.raises(UsageError, match="2 labels, the model has 10 classes"):
        onnx2mvit.deploy(classifier, output, labels=labels)


def test_another_onnx_file_is_refused(network: Network, classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not the file that"):
        onnx2mvit.deploy(classifier, tmp_path, onnx=network.file)


def test_the_comparison_counts_what_it_says() -> None:
    theirs = np.array([[0.0, 2.0], [1.0, 0.9], [4.0, 0.0]], np.float32)
    ours = np.array([[0.0, 2.0], [1.0, 1.1], [4.0, 0.0]], np.float32)
    found = fidelity({"y": ours}, {"y": theirs}, "it", "three")
    assert found.max_abs_error == pytest.approx(0.2)
    assert found.max_rel_error == pytest.approx(0.05)
    assert found.top1_agreement == pytest.approx(2 / 3)
    assert found.answers == 2
    assert found.differing == {1: pytest.approx(0.1)}
    assert not found.passes("float32")
    assert not fidelity({"y": ours * np.nan}, {"y": theirs}, "it", "three").passes("float16")
    assert not fidelity({"y": ours * np.nan}, {"y": theirs}, "it", "three").passes("int8")
    assert fidelity({"y": theirs}, {"y": theirs}, "it", "three").sqnr_db is None


def test_signal_to_noise_is_in_decibel() -> None:
    noisy, same = Comparison(answers=True), Comparison(answers=True)
    assert noisy.add(np.full(4, 1.1), np.ones(4)).sqnr_db == pytest.approx(20)
    assert same.add(np.ones(4), np.ones(4)).sqnr_db is None


def test_blocks_stay_in_float_where_that_costs_few_weights() -> None:
    small, large, good = Loss("small", 10, 30.0), Loss("large", 500, 30.0), Loss("good", 990, 60.0)
    assert choose([large, good, small]).floating == {small.block}
    assert 10 <= SPENT * 1500 < 500
    assert not choose([Loss("a", 10, GOAL + 10), Loss("b", 10, GOAL + 10)]).floating


SEVERAL = """g (float[N,3,8,6] pixels, int64[N,4] ids) => (float[a,b] scores, float[c,d,e,f] map) {
    map = Conv<pads=[1,1,1,1]>(pixels, w)
    m = ReduceMean<axes=[2,3],keepdims=0>(map)
    t = Gather(table, ids)
    s = ReduceSum<keepdims=0>(t, one)
    scores = Mul(m, s)
}"""


@pytest.mark.parametrize("form", ["litert", "onnx", "saved_model"])
def test_several_inputs_and_outputs_keep_names_order_and_axes(tmp_path: Path, form: str) -> None:
    made = model(SEVERAL, opset=17, w=(5, 3, 3, 3), table=(9, 5), one=[1])
    folder = onnx2mvit.convert(save(made, tmp_path), tmp_path, verify=False).folder
    deployed = onnx2mvit.deploy(folder, tmp_path / "out", format=form, inputs=2)
    assert deployed.passed
    assert deployed.comparison.against == "onnxruntime on model.onnx"
    report = deployed.report
    assert [each["name"] for each in report["inputs"]] == ["pixels", "ids"]
    assert [each["name"] for each in report["outputs"]] == ["scores", "map"]
    assert report["inputs"][0]["axes"] == ["batch", "height", "width", "channels"]
    assert report["inputs"][1]["dtype"] == "int64"
    if form == "litert":
        interpreter = optional("ai_edge_litert.interpreter", "deploy").Interpreter(
            model_path=str(deployed.file)
        )
        shapes = [each["shape"].tolist() for each in interpreter.get_output_details()]
        assert shapes == [[1, 5], [1, 8, 6, 5]]
