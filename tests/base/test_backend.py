"""Keras is imported late, on a backend that is there, with settings that its user chose."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from onnx2mvit.base import backend
from onnx2mvit.base.backend import backend_name, import_keras
from onnx2mvit.errors import MissingDependencyError, UsageError


def printed(code: str, name: str) -> list[str]:
    """What a program prints that imports Keras in a process of its own."""
    head = f"import os, sys; os.environ['KERAS_BACKEND'] = {name!r}\n"
    head += "from onnx2mvit.base.backend import import_keras, leave_out_extras\n"
    command = [sys.executable, "-c", head + code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_a_command_imports_keras_without_drawings_and_wrappers(tmp_path: Path) -> None:
    (tmp_path / "matplotlib.py").write_text("drawn = True\n")  # where there is none
    extras = {"IPython", "cv2", "jax", "matplotlib", "sklearn"}
    code = (
        f"sys.path.insert(0, {str(tmp_path)!r}); leave_out_extras(); import_keras()\n"
        f"print({extras} & set(sys.modules)); import matplotlib; print(matplotlib.drawn)"
    )
    assert printed(code, "tensorflow") == ["set()", "True"]


def test_two_threads_may_be_the_first_to_import_it() -> None:
    code = (
        "from threading import Thread\n"
        "del os.environ['KERAS_BACKEND']; os.environ['KERAS_HOME'] = '/nowhere'; found = []\n"
        "sys.modules['tensorflow'] = None  # JAX is imported sooner\n"
        "threads = [Thread(target=lambda: found.append(import_keras().ops)) for _ in range(2)]\n"
        "[each.start() for each in threads]; [each.join() for each in threads]\n"
        "print(len(found), 'KERAS_BACKEND' in os.environ)"
    )
    assert printed(code, "jax") == ["2 False"]


@pytest.mark.slow
def test_the_backend_is_never_left_out() -> None:
    code = "leave_out_extras(); print(import_keras().config.backend())"
    assert printed(code, "jax") == ["jax"]


@pytest.mark.parametrize(
    ("variable", "stored", "there", "chosen"),
    [
        (None, None, {"tensorflow", "jax"}, "tensorflow"),
        (None, None, {"torch", "jax"}, "jax"),
        (None, "torch", {"tensorflow", "torch"}, "torch"),
        (None, "torch", {"tensorflow"}, "tensorflow"),  # Keras writes the file by itself
        (None, "openvino", {"tensorflow", "openvino"}, "tensorflow"),  # which trains nothing
        ("jax", "torch", {"jax", "torch"}, "jax"),
    ],
)
def test_which_backend_is_taken(
    variable: str | None,
    stored: str | None,
    there: set[str],
    chosen: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name if name in there else None)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    if variable:
        monkeypatch.setenv("KERAS_BACKEND", variable)
    if stored:
        (tmp_path / "keras.json").write_text(json.dumps({"backend": stored}))
    assert backend_name() == chosen


@pytest.mark.parametrize("text", ["", "[]", '{"backend": ["jax"]}', '{"floatx": "float32"}'])
def test_a_damaged_settings_file_says_nothing(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    (tmp_path / "keras.json").write_text(text)
    assert backend_name() == backend.BACKENDS[0]


def test_a_backend_that_was_asked_for_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "nonexistent")
    with pytest.raises(MissingDependencyError, match="nonexistent is not installed"):
        backend_name()


@pytest.mark.parametrize(
    ("setting", "value", "needed"),
    [("image_data_format", "channels_first", "channels_last"), ("floatx", "float16", "float32")],
)
def test_settings_that_the_models_cannot_have_are_told_at_once(
    setting: str, value: str, needed: str
) -> None:
    change = getattr(keras.config, f"set_{setting}")
    change(value)
    try:
        with pytest.raises(UsageError, match=f"{setting} is {value} here, .* need {needed}"):
            import_keras()
    finally:
        change(needed)
    assert import_keras() is keras
