"""The versions of what takes part in a conversion, without importing any of it."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from onnx2mvit.base.backend import backend_name
from onnx2mvit.errors import MissingDependencyError
from onnx2mvit.version import __version__

# What a backend's package may be called on the package index.
_PACKAGES = {"tensorflow": ("tensorflow", "tensorflow-cpu", "tensorflow-intel")}


def versions() -> dict[str, str]:
    """By package, Python and the backend that Keras is to run on among them."""
    found = {"onnx2mvit": __version__, "python": platform.python_version()}
    found["keras"] = version("keras")
    try:
        name = backend_name()
        found |= dict.fromkeys([name], _version(*_PACKAGES.get(name, (name,))))
    except MissingDependencyError:
        pass
    return found | {name: version(name) for name in ("onnx", "onnxruntime")}


def _version(*names: str) -> str:
    """Of the one that is installed."""
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "of unknown version"
