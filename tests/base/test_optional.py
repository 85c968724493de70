"""What is not installed is named in one line, with the extra of pyproject.toml that brings it."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from onnx2mvit.base.optional import PACKAGES, optional, require
from onnx2mvit.errors import MissingDependencyError

PROJECT = Path(__file__).parent.parent.parent / "pyproject.toml"
EXTRAS = tomllib.loads(PROJECT.read_text("utf-8"))["project"]["optional-dependencies"]


@pytest.mark.parametrize("module", PACKAGES)
def test_every_extra_that_is_named_brings_the_package(module: str) -> None:
    package, extras = PACKAGES[module]
    for extra in extras:
        assert package in [re.split(r"[\[<>=]", each)[0] for each in EXTRAS[extra]]


def test_all_that_is_missing_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ai_edge_litert", "psutil", "tensorflow"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError) as caught:
        require("numpy", "ai_edge_litert", "psutil", "tensorflow", extra="benchmark")
    assert str(caught.value) == (
        "This needs ai-edge-litert, psutil and tensorflow: "
        "pip install 'onnx2mvit[benchmark,tensorflow]'."
    )


def test_one_is_named_as_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(MissingDependencyError) as caught:
        optional("ai_edge_litert.interpreter")
    assert str(caught.value) == "This needs ai-edge-litert: pip install 'onnx2mvit[deploy]'."


def test_what_is_there_is_not_asked_for() -> None:
    require("numpy", "onnx")
    assert optional("numpy").__name__ == "numpy"
