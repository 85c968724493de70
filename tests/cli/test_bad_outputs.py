"""`verify` on what is not, or not any more, what `convert` wrote: one line and exit code 3."""

import shutil
from pathlib import Path

import pytest

import onnx2mvit
from tests.support.bad_inputs_table import run
from tests.support.graphs import model, save

NET = "g (float[N,8,16,16] image) => (float[N,8,16,16] y) { c = Conv(image, w)  y = Relu(c) }"


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("converted")
    path = save(model(NET, w=(8, 8, 1, 1)), folder, "net.onnx")
    onnx2mvit.convert(path, folder / "out")
    return folder


@pytest.mark.parametrize(
    ("file", "length"),
    [
        ("net.safetensors", 0),
        ("net.safetensors", 50),
        ("net.safetensors", -4),
        ("net.safetensors", None),
        ("net.py", 0),
        ("net.py", 700),
        ("net.py", None),
        ("net.keras", 0),
        ("net.keras", 500),
    ],
)
def test_a_file_of_it_is_cut_off_or_gone(
    tmp_path: Path, converted: Path, file: str, length: int | None
) -> None:
    target = tmp_path / "net"
    shutil.copytree(converted / "out" / "net", target)
    content = (target / file).read_bytes()
    (target / file).unlink()
    if length is not None:
        (target / file).write_bytes(content[:length])
    given = target / file if file.endswith(".keras") else target
    ending = run("verify", str(converted / "net.onnx"), str(given))
    assert ending.code == 3
    (message,) = [line for line in ending.said if line.startswith("error: ")]
    assert ending.said[-1] == message
    assert str(target) in message


def test_as_it_was_it_is_right(converted: Path) -> None:
    assert run("verify", str(converted / "net.onnx"), str(converted / "out" / "net")).code == 0


def test_another_network_is_none_of_this_file(tmp_path: Path, converted: Path) -> None:
    other = save(model(NET, w=(8, 8, 1, 1), seed=1), tmp_path, "other.onnx")
    assert run("verify", str(other), str(converted / "out" / "net")).code == 5
    other = save(model(NET.replace("Relu", "Tanh"), w=(8, 8, 3, 3)), tmp_path, "other.onnx")
    assert run("verify", str(other), str(converted / "out" / "net")).code in (3, 5)
