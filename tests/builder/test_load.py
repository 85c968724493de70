"""A converted model is loaded, or what is wrong is said; nothing runs that is not trusted."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import keras
import pytest

import onnx2mvit
from onnx2mvit.builder import build, load, save
from onnx2mvit.errors import InvalidModelError, UsageError

pytestmark = pytest.mark.xdist_group("load")

OWN_LAYER = """import pathlib
import keras

pathlib.Path(__file__).with_suffix(".ran").touch()

@keras.saving.register_keras_serializable("own")
class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x
"""


def test_the_module_beside_a_keras_file_runs_only_if_it_is_trusted(tmp_path: Path) -> None:
    source, file, ran = (tmp_path / f"net.{end}" for end in ("py", "keras", "ran"))
    source.write_text(OWN_LAYER)
    names: dict[str, object] = {"__file__": str(source)}
    exec(OWN_LAYER, names)
    image = keras.Input((4,))
    keras.Model(image, names["Twice"]()(image)).save(file)  # type: ignore[operator]
    del keras.saving.get_custom_objects()["own>Twice"]  # others may be registered too
    ran.unlink()
    with pytest.raises(UsageError, match="--trust-module") as caught:
        load(file)
    assert "net.py" in str(caught.value) and not ran.exists()
    assert load(file, trust_module=True)(keras.ops.ones((1, 4)))[0, 0] == 2
    assert ran.exists()
    del keras.saving.get_custom_objects()["own>Twice"]  # others may be registered too


def test_a_file_is_written_as_keras_writes_it(tmp_path: Path) -> None:
    image = keras.Input((4,))
    model = keras.Model(image, keras.layers.Dense(3)(image))
    save(model, tmp_path / "ours.keras")
    model.save(tmp_path / "theirs.keras")
    assert {path.name for path in tmp_path.iterdir()} == {"ours.keras", "theirs.keras"}
    with ZipFile(tmp_path / "ours.keras") as ours, ZipFile(tmp_path / "theirs.keras") as theirs:
        assert {*ours.namelist()} == {*theirs.namelist()}
        assert ours.read("config.json") == theirs.read("config.json")
    again = load(tmp_path / "ours.keras")
    for found, weight in zip(again.get_weights(), model.get_weights(), strict=True):
        assert (found == weight).all()


def test_a_module_that_a_model_does_not_need_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(OWN_LAYER)
    image = keras.Input((4,))
    keras.Model(image, keras.layers.ReLU()(image)).save(tmp_path / "net.keras")
    load(tmp_path / "net.keras")
    assert not (tmp_path / "net.ran").exists()


def test_a_loss_of_ones_own_that_a_model_was_trained_with_is_not_asked_for(tmp_path: Path) -> None:
    class Own(keras.losses.Loss):  # type: ignore[misc]  # Keras has no types
        def call(self, y_true: object, y_pred: object) -> object:
            return y_pred

    image = keras.Input((4,))
    model = keras.Model(image, keras.layers.ReLU()(image))
    model.compile("sgd", Own())
    model.save(tmp_path / "net.keras")
    assert load(tmp_path / "net.keras").layers[1].name == model.layers[1].name


MODULES = {
    "syntax": "def (:",
    "null": "\0",
    "raises": "raise RuntimeError('x')",
    "exits": "raise SystemExit(0)",
    "no function": "import keras",
    "gives nothing": "def net(**options): return None",
    "another kind": "import keras\ndef net(**options): return keras.Sequential()",
}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_that_was_changed_is_said_to_be(tmp_path: Path, module: str) -> None:
    (tmp_path / "net.py").write_text(MODULES[module])
    (tmp_path / "net.safetensors").touch()
    with pytest.raises(InvalidModelError, match=f"{tmp_path}"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["net.py", "net.safetensors"])
@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir])
def test_a_pipe_and_a_folder_are_not_waited_for(
    tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    (tmp_path / "net.py").touch()
    (tmp_path / "net.safetensors").touch()
    (tmp_path / name).unlink()
    make(tmp_path / name)
    with pytest.raises(InvalidModelError, match=f"{name} is not a file"):
        load(tmp_path)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("saved") / "net.keras"
    image = keras.Input((4,))
    keras.Model(image, keras.layers.Dense(64)(image)).save(file)
    return file.read_bytes()


def test_a_keras_file_of_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "net.keras")
    with pytest.raises(InvalidModelError, match="no functional model"):
        load(tmp_path / "net.keras")


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "text": lambda content: b"hi",
    "cut off": lambda content: content[:-100],
    "a byte in the weights": lambda content: content[:-3000] + b"\xff" + content[-2999:],
    "nothing in it": lambda content: b"PK\5\6" + bytes(18),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_keras_file_that_was_damaged_is_said_to_be(
    tmp_path: Path, saved: bytes, damage: str
) -> None:
    (tmp_path / "net.keras").write_bytes(DAMAGES[damage](saved))
    with pytest.raises(InvalidModelError, match="cut off or changed"):
        load(tmp_path / "net.keras")


def test_the_folder_of_a_module_is_left_as_it_is(
    small: tuple[Path, onnx2mvit.Conversion], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    folder = small[1].folder
    before = sorted(folder.iterdir())
    build(folder)
    assert sorted(folder.iterdir()) == before and not (folder / "__pycache__").exists()
