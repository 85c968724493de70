"""Keras is imported late, and in a command without what it imports for nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LOADED = "sorted({'IPython', 'cv2', 'jax', 'matplotlib', 'sklearn'} & set(sys.modules))"


def printed(code: str, backend: str = "tensorflow") -> str:
    """What a program prints that imports Keras in a process of its own."""
    head = f"import os, sys; os.environ['KERAS_BACKEND'] = {backend!r}\n"
    head += "from onnx2mvit.base.backend import import_keras, leave_out_extras\n"
    command = [sys.executable, "-c", head + code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_command_imports_keras_without_drawings_and_wrappers(tmp_path: Path) -> None:
    (tmp_path / "matplotlib.py").write_text("drawn = True\n")  # where there is none
    here = f"sys.path.insert(0, {str(tmp_path)!r}); leave_out_extras(); import_keras()\n"
    assert printed(here + f"print({LOADED})") == "[]"
    assert printed(here + "import matplotlib; print(matplotlib.drawn)") == "True"


def test_the_backend_is_never_left_out() -> None:
    assert printed("leave_out_extras(); print(import_keras().config.backend())", "jax") == "jax"


def test_a_library_call_leaves_keras_as_it_is() -> None:
    pytest.importorskip("matplotlib")
    assert "matplotlib" in printed(f"import_keras(); print({LOADED})")
