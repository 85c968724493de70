"""OpenVINO files: by way of our ONNX, pinned to their precision, int8 by NNCF."""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnx2mvit
from onnx2mvit.base.optional import optional
from onnx2mvit.deployment import Deployment, openvino_model
from onnx2mvit.deployment.interface import Interface
from onnx2mvit.errors import InvalidModelError, MissingDependencyError, UnsupportedError, UsageError
from onnx2mvit.runtimes import OpenVINORunner
from onnx2mvit.runtimes.openvino_runner import PINNED
from tests.support.graphs import model, save

pytestmark = pytest.mark.xdist_group("deploy-openvino")

for package in ("openvino", "nncf"):
    pytest.importorskip(package)

# A convolution with many weights, and a stem and a head with few.
NET = """g (float[N,3,16,16] pixels) => (float[N,6] scores) {
    s = Conv<pads=[1,1,1,1]>(pixels, stem, b)  n = BatchNormalization(s, gamma, b, b, variance)
    r = Relu(n)  c = Conv<pads=[1,1,1,1]>(r, w, b)  q = Relu(c)
    p = GlobalAveragePool(q)  f = Flatten<axis=1>(p)  scores = Gemm<transB=1>(f, v, d) }"""
WEIGHTS: dict[str, Any] = {"stem": (8, 3, 3, 3), "w": (8, 8, 3, 3), "v": (6, 8), "d": (6,)}
WEIGHTS |= {"b": (8,), "gamma": (8,), "variance": np.full(8, 2.0)}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Converted; its ONNX file is beside it."""
    output = tmp_path_factory.mktemp("net")
    made = model(NET, **WEIGHTS)
    return onnx2mvit.convert(save(made, output, "net.onnx"), output, verify=False).folder


def deployed(target: Path, output: Path, **options: Any) -> Deployment:
    return onnx2mvit.deploy(target, output, format="openvino", inputs=6, **options)


def operators(file: Path) -> Counter[str]:
    read = optional("openvino", "openvino").Core().read_model(file)
    return Counter(node.get_type_name() for node in read.get_ops())


@pytest.fixture(scope="module")
def plain(net: Path, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return deployed(net, tmp_path_factory.mktemp("float32"))


def test_a_file_in_float32_answers_in_float32(plain: Deployment) -> None:
    assert plain.passed and plain.comparison.max_rel_error <= 2e-6
    assert plain.comparison.against == "onnxruntime on net.onnx"
    assert {path.name for path in plain.folder.iterdir()} == {"net.xml", "net.bin", "deploy.json"}
    assert not plain.report["notes"]
    runner = OpenVINORunner(plain.file)
    assert (runner.inputs, runner.outputs, runner.batch) == (["pixels"], ["scores"], None)
    assert runner(np.zeros((5, 16, 16, 3), np.float32))["scores"].shape == (5, 6)


def test_how_a_file_is_loaded_is_said_and_pinned_in_it(plain: Deployment) -> None:
    openvino = optional("openvino", "openvino")
    line = plain.report["load"].replace("'net.xml'", repr(str(plain.file)))
    loaded = eval(line, {"openvino": openvino})
    assert loaded.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"
    read = openvino.Core().read_model(plain.file)
    assert read.get_rt_info(PINNED).astype(str) == "f32"
    assert read.get_rt_info(["onnx2mvit", "precision"]).astype(str) == "float32"


def test_bfloat16_is_computed_where_the_processor_can(
    net: Path, plain: Deployment, tmp_path: Path
) -> None:
    core = optional("openvino", "openvino").Core()
    if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(UnsupportedError, match="does not compute in bfloat16"):
            deployed(net, tmp_path, precision="bfloat16")
        return
    made = deployed(net, tmp_path, precision="bfloat16")
    assert made.passed and 1e-4 < made.comparison.max_rel_error <= 8e-2
    half, whole = (each.file.with_suffix(".bin").stat().st_size for each in (made, plain))
    assert half < 0.7 * whole
    assert made.report["bytes"] > half  # both files


def test_int8_leaves_out_what_loses_most(net: Path, tmp_path: Path) -> None:
    made = deployed(net, tmp_path, precision="int8", data_format="channels_first")
    assert made.passed
    found = operators(made.file)
    assert found["FakeQuantize"] >= 2 and found["Convolution"] == 2
    assert made.report["inputs"][0]["shape"] == [None, 3, 16, 16]
    losses = made.report["blocks"]
    assert sorted(each["weights"] for each in losses) == [48, 216, 576]
    assert all(each["sqnr_db"] > 10 for each in losses)
    assert any("not on real images" in note for note in made.report["notes"])


@pytest.mark.parametrize(
    ("missing", "precision"), [("openvino", "float32"), ("openvino", "bfloat16"), ("nncf", "int8")]
)
def test_a_package_that_is_missing_is_named(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, precision: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingDependencyError, match=rf"{missing}.*onnx2mvit\[openvino\]"):
        deployed(net, tmp_path, precision=precision)


def test_what_cannot_be_done_is_one_line(net: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="float16 is for litert; openvino has float32, bfloat16"):
        deployed(net, tmp_path, precision="float16")
    with pytest.raises(UsageError, match="bfloat16 is for openvino; onnx has float32"):
        onnx2mvit.deploy(net, tmp_path, format="onnx", precision="bfloat16")
    unread = save(model("g (float[2,3,3] x) => (float[2] y) { y = Det(x) }"), tmp_path)
    with pytest.raises(UnsupportedError, match=r"`--format onnx`.*OpenVINO cannot read .*Det"):
        openvino_model(unread, Interface((), (), (), None))
    (tmp_path / "cut.xml").write_text("<net")
    with pytest.raises(InvalidModelError, match=r"OpenVINO cannot read .*cut\.xml"):
        OpenVINORunner(tmp_path / "cut.xml")
