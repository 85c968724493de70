"""Packages that only some commands need, imported late; none of them ships types."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from onnx2mvit.base.backend import import_keras
from onnx2mvit.base.quiet import quiet
from onnx2mvit.errors import MissingDependencyError

# What the modules are called where they are installed from.
PACKAGES = {
    "PIL": "pillow",
    "huggingface_hub": "huggingface-hub",
    "yaml": "pyyaml",
    "ai_edge_litert": "ai-edge-litert",
    "ai_edge_quantizer": "ai-edge-quantizer",
    "efficientnet_lite_pytorch": "efficientnet-lite-pytorch",
    "keras_hub": "keras-hub",
}


def optional(module: str, extra: str) -> ModuleType:
    """The `module` of a package that `pip install 'onnx2mvit[extra]'` brings.

    Raises:
        MissingDependencyError: it is not installed.
    """
    if loaded := sys.modules.get(module):  # this may be asked for with every image
        return loaded
    try:
        with quiet():
            return importlib.import_module(module)
    except ImportError as error:
        top = module.partition(".")[0]
        raise MissingDependencyError(
            f"This needs {PACKAGES.get(top, top)}: pip install 'onnx2mvit[{extra}]'."
        ) from error


def import_tensorflow() -> ModuleType:
    """TensorFlow, as the backend of Keras: tf.function and files to deploy need it.

    Raises:
        MissingDependencyError: it is not installed, or Keras runs on another backend.
    """
    backend = import_keras().backend.backend()
    if backend != "tensorflow":
        raise MissingDependencyError(
            f"This needs TensorFlow, and Keras runs on {backend}: set "
            "KERAS_BACKEND=tensorflow (pip install 'onnx2mvit[tensorflow]')."
        )
    return optional("tensorflow", extra="tensorflow")
