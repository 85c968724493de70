"""Keras, imported late and with a backend that is installed."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from types import ModuleType

from onnx2mvit.base.libraries import let_go_of_libraries
from onnx2mvit.base.quiet import quiet
from onnx2mvit.errors import MissingDependencyError, UsageError

BACKENDS = ("tensorflow", "jax", "torch")
SETTINGS = {"image_data_format": "channels_last", "floatx": "float32"}

# Keras and TensorFlow import these where they are installed, for what no command uses: widgets,
# drawings, wrappers for scikit-learn. Of their import it was 2 of 4.3 seconds, and 190 MB.
UNUSED_EXTRAS = ("IPython", "cv2", "jax", "matplotlib", "sklearn")
_left_out: list[str] = []
_importing = Lock()


def leave_out_extras() -> None:
    """Lets Keras be imported without `UNUSED_EXTRAS`, in a process that is all our own.

    Others can import them afterwards as ever; it is Keras's functions on top of them that are
    not there, which is not for a library to decide.
    """
    _left_out[:] = UNUSED_EXTRAS


def import_keras() -> ModuleType:
    """Keras, on the backend that `backend_name` gives, if it was not imported before.

    Raises:
        MissingDependencyError: there is no backend.
        UsageError: its settings are such that no model of ours can be made.
    """
    with _importing:  # a second thread waits until it is there as a whole
        if "keras" not in sys.modules:
            name = backend_name()
            # TensorFlow greets on stderr.
            with _backend(name), quiet(), _missing(set(_left_out) - {name}):
                importlib.import_module("keras").ops.zeros(1)  # as it does on its first operation
            let_go_of_libraries()
        keras = importlib.import_module("keras")
    for setting, needed in SETTINGS.items():
        found = getattr(keras.config, setting)()
        if found != needed:
            raise UsageError(
                f"Keras's {setting} is {found} here, and the models need {needed}: change it in "
                f"{_settings_file()}, or call keras.config.set_{setting}({needed!r})"
            )
    return keras


def backend_name() -> str:
    """The backend in KERAS_BACKEND, that in keras.json, or the first of `BACKENDS` that is there.

    Keras writes a keras.json by itself, so that a backend in it may not be installed.

    Raises:
        MissingDependencyError: there is none.
    """
    wanted = os.environ.get("KERAS_BACKEND")
    candidates = [wanted] if wanted else list(dict.fromkeys([*_in_settings_file(), *BACKENDS]))
    for name in candidates:
        if importlib.util.find_spec(name) is not None:
            return name
    raise MissingDependencyError(
        f"This needs a backend of Keras, and {' or '.join(candidates)} is not installed: "
        "pip install 'onnx2mvit[tensorflow]' (or [jax], [torch])."
    )


def _settings_file() -> Path:
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "keras.json"


def _in_settings_file() -> list[str]:
    """The backend in keras.json, if that is one of `BACKENDS`."""
    try:
        name = json.loads(_settings_file().read_text(encoding="utf-8"))["backend"]
    except (OSError, ValueError, TypeError, KeyError):
        return []
    return [name] if name in BACKENDS else []


@contextmanager
def _backend(name: str) -> Iterator[None]:
    """Meanwhile Keras, which reads it when it is imported, finds this backend asked for."""
    before = os.environ.get("KERAS_BACKEND")
    os.environ["KERAS_BACKEND"] = name
    try:
        yield
    finally:
        if before is None:
            del os.environ["KERAS_BACKEND"]


@contextmanager
def _missing(names: Iterable[str]) -> Iterator[None]:
    """Meanwhile an import of one of these packages fails, as where it is not installed."""
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None is Python's way
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
