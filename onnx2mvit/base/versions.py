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
        found[name] = installed(name) or "of unknown version"
    except MissingDependencyError:
        pass
    return found | {name: version(name) for name in ("onnx", "onnxruntime")}


def installed(package: str) -> str | None:
    """The version of a package, under whatever name it was installed; None if it is not."""
    for name in _PACKAGES.get(package, (package,)):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None
