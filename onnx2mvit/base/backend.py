"""Keras, imported late and with a backend that is installed."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from onnx2mvit.base.quiet import quiet
from onnx2mvit.errors import MissingDependencyError

BACKENDS = ("tensorflow", "jax", "torch")


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
    with _backend(installed[0]), quiet():  # TensorFlow greets on stderr
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
