"""Keras, imported late and with a backend that is installed."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
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
    os.environ["KERAS_BACKEND"] = installed[0]
    with quiet():  # TensorFlow greets on stderr, on its import and on its first operation
        keras = importlib.import_module("keras")
        keras.ops.zeros(1)
    return keras
