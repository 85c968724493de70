"""Keras, imported late and with a backend that is installed."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType

from onnx2mvit.base.quiet import quiet
from onnx2mvit.errors import MissingDependencyError

BACKENDS = ("tensorflow", "jax", "torch")

# Keras and TensorFlow import these where they are installed, for what no command uses: widgets,
# drawings, wrappers for scikit-learn. Of their import it was 2 of 4.3 seconds, and 190 MB.
UNUSED_EXTRAS = ("IPython", "cv2", "jax", "matplotlib", "sklearn")
_left_out: list[str] = []


def leave_out_extras() -> None:
    """Lets Keras be imported without `UNUSED_EXTRAS`, in a process that is all our own.

    Others can import them afterwards as ever; it is Keras's functions on top of them that are
    not there, which is not for a library to decide.
    """
    _left_out[:] = UNUSED_EXTRAS


def import_keras() -> ModuleType:
    """Keras, on the backend in KERAS_BACKEND or else the first of `BACKENDS` that is there.

    Raises:
        MissingDependencyError: there is no backend.
    """
    if "keras" in sys.modules:
        return sys.modules["keras"]
    wanted = os.environ.get("KERAS_BACKEND")
    candidates = [wanted] if wanted else BACKENDS
    installed = [name for name in candidates if importlib.util.find_spec(name) is not None]
    if not installed:
        raise MissingDependencyError(
            f"Keras needs a backend, and {' or '.join(candidates)} is not installed. "
            "Install one: pip install 'onnx2mvit[tensorflow]' (or [jax], [torch])."
        )
    # TensorFlow greets on stderr.
    with _backend(installed[0]), quiet(), _missing(set(_left_out) - {installed[0]}):
        keras = importlib.import_module("keras")
        keras.ops.zeros(1)  # as it does on its first operation
    return keras


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
