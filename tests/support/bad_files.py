"""Bad inputs that are wrong as files: not there, not ONNX, cut off, weights that are elsewhere.

Every function makes one in a folder and returns its path; `tests/bad_inputs.py` lists them all.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.support.graphs import model, save

Make = Callable[[Path], Path]
GOOD = "g (float[1,3,8,8] x) => (float[1,3,8,8] y)"
CONV = f"{GOOD} {{ y = Conv(x, w) }}"


def nowhere(folder: Path) -> Path:
    return folder / "nowhere.onnx"


def directory(folder: Path) -> Path:
    (folder / "folder.onnx").mkdir()
    return folder / "folder.onnx"


def device(folder: Path) -> Path:
    return Path("/dev/zero")


def loop_of_links(folder: Path) -> Path:
    (folder / "link.onnx").symlink_to(folder / "link.onnx")
    return folder / "link.onnx"


def holding(content: bytes) -> Make:
    """A file with these bytes."""

    def make(folder: Path) -> Path:
        path = folder / "model.onnx"
        path.write_bytes(content)
        return path

    return make


def cut_off(keep: float) -> Make:
    """A good file of which so many bytes, or such a part, is there."""

    def make(folder: Path) -> Path:
        path = save(model(CONV, w=(64, 3, 3, 3)), folder)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(keep * len(whole)) if 0 < keep < 1 else int(keep)])
        return path

    return make


def noise(size: int) -> bytes:
    return np.random.default_rng(size).bytes(size)


def with_weight(**fields: Any) -> Make:
    """A convolution with this weight `w`, [4, 3, 1, 1] in float32 unless `fields` say otherwise."""

    def make(folder: Path) -> Path:
        made = model(CONV)
        kept = {"name": "w", "data_type": TensorProto.FLOAT, "dims": [4, 3, 1, 1]}
        made.graph.initializer.append(TensorProto(**{**kept, **fields}))
        return save(made, folder)

    return make


def external(dims: tuple[int, ...] = (4, 3, 1, 1), **where: object) -> Make:
    """The weight is beside the file: `weights.bin` has its 48 bytes, other places are traps."""

    def make(folder: Path) -> Path:
        inside = folder / "inside"
        (inside / "folder").mkdir(parents=True)
        (inside / "weights.bin").write_bytes(bytes(48))
        (folder / "secret.bin").write_bytes(bytes(48))
        (inside / "link.bin").symlink_to(folder / "secret.bin")
        made = model(CONV)
        tensor = made.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=dims)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in where.items():
            tensor.external_data.add(key=key, value=str(value))
        return save(made, inside)

    return make


TENSOR = numpy_helper.from_array(np.ones((3, 3)), "tensor").SerializeToString()
BARE_GRAPH = model(CONV, w=(4, 3, 1, 1)).graph.SerializeToString()
OPSET = helper.make_opsetid("", 17).SerializeToString()
NO_GRAPH = onnx.ModelProto(ir_version=8).SerializeToString()
