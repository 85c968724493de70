"""Where a model that differs begins to: the first piece that is wrong on onnxruntime's own tensors.

A piece reaches from one border to those before it. It is run by itself on what onnxruntime has
there, so that one fault does not accuse all that follows, and written as a small repro that
needs neither the network nor onnxruntime.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.ir.block import Block
from onnx2mvit.ir.graph import Value
from onnx2mvit.runtimes.comparison import Difference
from onnx2mvit.verifier.probe import Array, Border, Reference, to_keras

if TYPE_CHECKING:
    import keras

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


@dataclass(frozen=True, eq=False)
class Piece:
    """A piece of the model with onnxruntime's tensors before and after it, in Keras's layout.

    `block` is the block at the top in which it lies, `layer` the deepest one that ends it.
    """

    block: Block
    layer: Block
    model: keras.Model
    inputs: list[Array]
    expected: Array

    @cached_property
    def answer(self) -> Array:
        """What Keras makes of the inputs."""
        import keras

        made: Array = keras.ops.convert_to_numpy(self.model(self.inputs, training=False))
        return made

    def error(self) -> float:
        """The largest error of Keras's answer, relative to the largest expected value."""
        difference = Difference(self.layer.name, self.layer.kind)
        difference.add(self.answer, self.expected)
        return difference.max_rel_error

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {
            "block": self.block.name,
            "block_kind": self.block.kind,
            "layer": self.layer.path,
            "kind": self.layer.kind,
            "max_rel_error": self.error(),
            "shape": list(self.answer.shape),
            "expected_shape": list(self.expected.shape),
        }

    def write(self, folder: Path, target: Path) -> None:
        """Writes part.json, weights.npz, inputs.npz and repro.py, a script of a dozen lines.

        `target` is the model: the folder above, or a .keras file in it.
        """
        text = self.model.to_json(indent=1)
        own = _has_own_layers(json.loads(text))
        (folder / "part.json").write_text(text, encoding="utf-8")
        np.savez(folder / "weights.npz", *self.model.get_weights())
        np.savez(folder / "inputs.npz", *self.inputs, self.expected)
        script = SCRIPT.format(
            name=self.layer.path,
            of=_of(target),
            imports="import runpy\n" if own else "",
            before=REGISTERED if own else "",
        )
        (folder / SCRIPT_NAME).write_text(script, encoding="utf-8")


def is_of(folder: Path, target: Path) -> bool:
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


def piece_before(border: Border, blocks: Sequence[Block], known: Reference) -> Piece | None:
    """The piece of the model that ends at a border; None where a tensor before it is not known."""
    import keras

    starts: dict[int, Any] = {}
    values: list[Value | None] = []
    made = border.probe.made

    def walk(tensor: Any) -> None:
        operation = tensor._keras_history.operation
        if id(tensor) in starts:
            return
        if operation in made or isinstance(operation, keras.layers.InputLayer):
            starts[id(tensor)] = tensor
            values.append(made[operation].value if operation in made else border.probe.source)
            return
        before(tensor)

    def before(tensor: Any) -> None:
        operation, index, _ = tensor._keras_history
        for source in operation._inbound_nodes[index].input_tensors:
            walk(source)

    before(border.tensor)
    orders, expected = border.probe.orders, known(border.value)
    arrays = [known(value) if value is not None else None for value in values]
    if expected is None or border.block is None or any(array is None for array in arrays):
        return None
    inputs = [
        np.ascontiguousarray(to_keras(array, orders[value]))
        for array, value in zip(arrays, values, strict=True)
        if array is not None and value is not None
    ]
    return Piece(
        block=next(top for top in blocks if border.block in top.walk()),
        layer=border.block,
        model=keras.Model(list(starts.values()), border.tensor),
        inputs=inputs,
        expected=np.ascontiguousarray(to_keras(expected, orders[border.value])),
    )


def first_wrong(
    borders: dict[Border, float], tolerance: float, piece: Callable[[Border], Piece | None]
) -> Piece | None:
    """The first piece that is wrong by itself, inner ones before those around them.

    `borders` has the relative error at each in the order of the network. None where no piece is
    wrong: then small differences add up.
    """
    for border, error in borders.items():
        if error > tolerance:
            found = piece(border)
            if found is not None and found.error() > tolerance:
                return found
    return None
