"""Where two models begin to differ: the layer that is wrong, and no other."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnx2mvit
from onnx2mvit import inspect
from onnx2mvit.builder import build
from onnx2mvit.ir.network import Network
from onnx2mvit.runtimes import some_inputs
from onnx2mvit.verifier.reference_outputs import reference_outputs
from onnx2mvit.verifier.verification import Verification
from onnx2mvit.verifier.verify_model import verify_model
from tests.support.command_line import exit_code
from tests.support.graphs import model, save
from tests.support.texts import mobilevit
from tests.verifier.test_verify import QUERY, spoil

pytestmark = pytest.mark.xdist_group("verify")  # test_verify has the same network

IMAGE = "float[N,8,8,8]"


@pytest.fixture(scope="module")
def block(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Network]:
    """One MobileViT block: its file, what it was converted to, and its network."""
    text, folder = mobilevit(), tmp_path_factory.mktemp("block")
    body = f"g (float[2,8,8,8] x) => (float y) {{ {text.nodes} }}"
    file = save(model(body, **text.weights), folder)
    output = onnx2mvit.convert(file, folder, name="net", verify=False).folder
    return file, output, inspect(file)


def proof(block: tuple[Path, Path, Network], change: Callable[[Any], None]) -> Verification:
    """What is found after this change to the Keras model."""
    file, folder, network = block
    keras_model = build(folder)
    change(keras_model)
    reference = reference_outputs(file, network, some_inputs(network, None, 2)[0], "")
    return verify_model(file, network, keras_model, reference)


def layer(keras_model: Any, path: str) -> Any:
    for name in path.split("/"):
        keras_model = keras_model.get_layer(name)
    return keras_model


def test_a_model_that_is_right_begins_nowhere(block: tuple[Path, Path, Network]) -> None:
    right = proof(block, lambda keras_model: None)
    assert right.passed and right.begins is None and right.first_divergence is None


def scaled_kernel(one: Any) -> None:
    one.kernel.assign(np.asarray(one.kernel) * 1.01)


def other_epsilon(one: Any) -> None:
    one.epsilon = 0.5


def other_activation(one: Any) -> None:
    import keras

    one.activation = keras.activations.tanh


CHANGES = [
    ("mobilevit_block_0/local_conv", scaled_kernel),
    ("mobilevit_block_0/local_act", other_activation),
    ("mobilevit_block_0/layer.1/norm_after", other_epsilon),
    ("mobilevit_block_0/norm", other_epsilon),
    ("mobilevit_block_0/fusion_conv", scaled_kernel),
]


@pytest.mark.parametrize(("path", "change"), CHANGES)
def test_the_layer_that_was_changed_is_named(
    block: tuple[Path, Path, Network], path: str, change: Callable[[Any], None]
) -> None:
    wrong = proof(block, lambda keras_model: change(layer(keras_model, path)))
    assert not wrong.passed and wrong.begins is not None
    assert wrong.begins["layer"] == path
    assert wrong.begins["block_kind"] == "MobileViTBlock"
    assert wrong.begins["max_rel_error"] > 1e-4


WRONG_STRIDE = """g (float[N,3,32,32] x) => (float[N,4,16,16] y) {
    a = Conv<pads=[1,1,1,1]>(x, w0)  b = Relu(a)
    c = Conv<pads=[1,1,1,1], strides=[2,2]>(b, w1)  d = Relu(c)  y = Conv(d, w2)
}"""


@pytest.fixture
def strided(tmp_path: Path) -> tuple[Path, Path]:
    """A file with a stride of two in its middle, and the folder that it was converted to."""
    made = model(WRONG_STRIDE, w0=(8, 3, 3, 3), w1=(8, 8, 3, 3), w2=(4, 8, 1, 1))
    file = save(made, tmp_path)
    return file, onnx2mvit.convert(file, tmp_path, name="net", verify=False).folder


def lose_stride(folder: Path) -> str:
    """Takes the stride out of the source, and returns the source that was right."""
    source = (folder / "net.py").read_text()
    call = 'x = conv_bn_act(x, 8, kernel_size=3, strides=2, name="conv_bn_act_1")'
    assert call in source
    (folder / "net.py").write_text(source.replace(call, call.replace("strides=2, ", "")))
    return source


def test_a_wrong_stride_is_named_with_its_shapes(strided: tuple[Path, Path]) -> None:
    file, folder = strided
    lose_stride(folder)
    wrong = onnx2mvit.verify(file, folder, inputs=1)
    assert wrong.begins is not None
    assert wrong.begins["layer"] == "conv_bn_act_1_conv"
    assert wrong.begins["shape"] == [1, 32, 32, 8]
    assert wrong.begins["expected_shape"] == [1, 16, 16, 8]
    json.dumps(wrong.as_dict(), allow_nan=False)


def test_a_repro_is_gone_once_its_model_passes(strided: tuple[Path, Path]) -> None:
    file, folder = strided
    before = sorted(path.name for path in folder.iterdir())
    right = lose_stride(folder)
    onnx2mvit.verify(file, folder, inputs=1)
    assert (folder / "mismatch" / "repro.py").is_file()
    assert onnx2mvit.verify(file, folder / "net.keras", inputs=1).passed
    assert (folder / "mismatch").is_dir()  # it is of the source, which is still wrong
    (folder / "net.py").write_text(right)
    assert onnx2mvit.verify(file, folder, inputs=1).passed
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize("name", ["notes.txt", "repro.py"])
def test_a_folder_of_somebody_else_of_that_name_stays(
    strided: tuple[Path, Path], name: str
) -> None:
    file, folder = strided
    (folder / "mismatch").mkdir()
    (folder / "mismatch" / name).write_bytes(b"mine \xff")
    assert onnx2mvit.verify(file, folder, inputs=1).passed
    assert (folder / "mismatch" / name).read_bytes() == b"mine \xff"


def test_the_repro_shows_the_difference_with_keras_and_numpy_alone(
    small: tuple[Path, onnx2mvit.Conversion], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, right = small
    wrong = spoil(right.folder, tmp_path / "wrong", QUERY, lambda bias: bias + 0.05)
    assert exit_code("verify", file, wrong, "--inputs", 1) == 5
    shown = capsys.readouterr()
    layer_path = QUERY.removesuffix("/query/bias")
    assert f"begins   in MultiHeadAttention {layer_path}, in MobileViTBlock" in shown.out
    assert f"{wrong}/mismatch/repro.py" in shown.err
    code = f"""
import runpy, sys
for name in ("onnx2mvit", "onnx", "onnx_ir", "onnxruntime", "onnxscript", "networkx"):
    sys.modules[name] = None
runpy.run_path({str(wrong / "mismatch" / "repro.py")!r})
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd="/", check=True
    )
    first, second = done.stdout.splitlines()
    assert first == "keras (4, 16, 24) onnxruntime (4, 16, 24)"
    assert float(second.split()[2]) > 1e-3 * float(second.split()[4])
