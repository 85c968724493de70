"""The folder mismatch/ in that of a model: a small repro of its first divergence.

It needs neither the network nor onnxruntime, and is there as long as the model differs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from onnx2mvit.base.output import remove_folder, whole_folder
from onnx2mvit.errors import Onnx2mvitError
from onnx2mvit.verifier.sub_model import SubModel

FOLDER = "mismatch"
SCRIPT_NAME = "repro.py"
SCRIPT = '''"""Keras and onnxruntime differ in {name}: run this where keras and numpy are."""
{of}

import pathlib
{imports}
import keras
import numpy as np

here = pathlib.Path(__file__).parent
{before}part = keras.models.model_from_json((here / "part.json").read_text())
part.set_weights(list(np.load(here / "weights.npz").values()))
*inputs, theirs = np.load(here / "inputs.npz").values()
ours = keras.ops.convert_to_numpy(part(inputs, training=False))
print("keras", ours.shape, "onnxruntime", theirs.shape)
if ours.shape == theirs.shape:
    print("largest error", np.abs(ours - theirs).max(), "of", np.abs(theirs).max())
'''
# A model for any size has layers that its own module registers.
REGISTERED = 'runpy.run_path(str(next(here.parent.glob("*.py"))))\n'


def write_repro(part: SubModel, folder: Path, target: Path) -> None:
    """Writes part.json, weights.npz, inputs.npz and repro.py, a script of a dozen lines.

    Args:
        part: the layer, with its weights and what it read.
        folder: where they go.
        target: the model: the folder above, or a .keras file in it.
    """
    text = part.model.to_json(indent=1)
    own = _has_own_layers(json.loads(text))
    (folder / "part.json").write_text(text, encoding="utf-8")
    np.savez(folder / "weights.npz", *part.model.get_weights())
    np.savez(folder / "inputs.npz", *part.inputs, part.expected)
    script = SCRIPT.format(
        name=part.layer.path,
        of=_of(target),
        imports="import runpy\n" if own else "",
        before=REGISTERED if own else "",
    )
    (folder / SCRIPT_NAME).write_text(script, encoding="utf-8")


def repro_folder(target: Path) -> Path:
    """Where `verify` writes the repro of a mismatch in this folder or .keras file."""
    return (target if target.is_dir() else target.parent) / FOLDER


def renew_repro(target: Path, part: SubModel | None, progress: Callable[[str], None]) -> None:
    """Writes the repro of what was found, or removes an older one.

    What cannot be written or removed is said as progress: the verdict is what was asked for.

    Args:
        target: the model: a folder, or a .keras file.
        part: the layer that differs first; None removes.
        progress: is told what fails.
    """
    folder = repro_folder(target)
    if part is not None:
        try:
            with whole_folder(folder, mark=SCRIPT_NAME) as work:
                write_repro(part, work, target)
        except Onnx2mvitError as error:
            progress(f"without a repro: {error}")
        return
    try:
        if _is_of(folder, target):
            remove_folder(folder)
    except OSError as error:
        progress(f"{folder} is out of date and cannot be removed: {error.strerror}")


def _is_of(folder: Path, target: Path) -> bool:
    """True if this is the repro of this target; several .keras files may lie beside it."""
    script = folder / SCRIPT_NAME
    return script.is_file() and _of(target).encode() in script.read_bytes().splitlines()


def _of(target: Path) -> str:
    """The line of the script that says which model it is of: a folder may be renamed."""
    return f"# Of {'the folder above' if target.is_dir() else ascii(target.name)}."


def _has_own_layers(config: Any) -> bool:
    """True if a configuration has a layer that is not Keras's own."""
    if isinstance(config, dict):
        own = ">" in (config.get("registered_name") or "")  # "package>Layer"
        return own or any(map(_has_own_layers, config.values()))
    return isinstance(config, list) and any(map(_has_own_layers, config))
