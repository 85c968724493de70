"""What tests do with whole networks: export them, convert them, and compare what came out."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np
import onnx
import torch

import onnx2mvit
from onnx2mvit.exporter.torch_export import Logits, Request, to_onnx
from onnx2mvit.ir.block import Block

# What depends on whether the file has BatchNormalization, or has it folded.
BATCH_NORM = {"batch_norm", "use_bias", "bn_epsilon", "bn_momentum", "fewer_norm"}
TOLERANCE = 1e-5  # of the largest number in an answer
Tree = list[tuple[str, dict[str, Any], Any]]


def exported(
    module: torch.nn.Module, request: Request, folder: Path, size: Sequence[int] = (32, 32)
) -> Path:
    """The file that one of torch's exporters writes of a module, at this height and width."""
    images = torch.rand(2 if request.dynamic_batch else 1, 3, *size)
    onnx.save(to_onnx(cast(Logits, module), images, request), folder / "net.onnx")
    return folder / "net.onnx"


def converted(file: Path, folder: Path, *, nodes: int = 50, **options: Any) -> onnx2mvit.Conversion:
    """All of it, more than `nodes`, is in blocks, and it answers as onnxruntime, block by block."""
    result = onnx2mvit.convert(file, folder, inputs=2, **options)
    coverage, proof = result.report["coverage"], result.report["verification"]
    assert coverage["in_blocks"] == coverage["nodes"] > nodes
    assert proof["verdict"] == "passed"
    assert proof["max_rel_error"] <= TOLERANCE
    assert all(block["max_rel_error"] <= TOLERANCE for block in proof["blocks"])
    return result


def assert_answers_alike(
    model: Any, module: torch.nn.Module, size: Sequence[int], **arguments: Any
) -> None:
    """A Keras model answers as a module of torch does, on random images of this size."""
    images = np.random.default_rng(0).uniform(size=(2, 3, *size)).astype(np.float32)
    with torch.no_grad():
        answer = module(torch.from_numpy(images), **arguments)
    expected = getattr(answer, "logits", answer).numpy()
    found = keras.ops.convert_to_numpy(model(images.transpose(0, 2, 3, 1)))
    found = found.transpose(0, 3, 1, 2) if found.ndim == 4 else found
    assert np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max()


def assert_trains(model: Any, idle: str = "") -> None:
    """A step of gradient descent on random images changes all that is trainable, finitely.

    What has no effect on the answers, whose paths end in `idle`, may stay.
    """
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(4, *model.input_shape[1:])).astype(np.float32)
    before = [keras.ops.convert_to_numpy(weight).copy() for weight in model.trainable_weights]
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(images, rng.normal(size=(4, *model.output_shape[1:])), batch_size=4, verbose=0)
    for weight, old in zip(model.trainable_weights, before, strict=True):
        new = keras.ops.convert_to_numpy(weight)
        changed = (new != old).any() or (idle and weight.path.endswith(idle))
        assert np.isfinite(new).all() and changed, weight.path


def assert_tables_train_and_are_saved(
    model: Any, shapes: Sequence[tuple[int, ...]], folder: Path
) -> None:
    """Its tables of biases have these shapes and are learned; what is saved answers the same."""
    tables = [each for each in model.trainable_weights if each.path.endswith("embeddings")]
    assert [tuple(table.shape) for table in tables] == [*shapes]
    before = [np.array(table) for table in tables]
    images = np.random.default_rng(0).uniform(size=(2, *model.input_shape[1:]))
    model.compile(keras.optimizers.SGD(0.01), "mse")
    model.fit(images, np.zeros((2, *model.output_shape[1:])), verbose=0)
    assert all((np.array(t) != old).any() for t, old in zip(tables, before, strict=True))
    model.save(folder / "again.keras")
    again = keras.models.load_model(folder / "again.keras")
    for weight, stored in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(stored, weight)
    expected = np.asarray(model(images))
    assert np.abs(np.asarray(again(images)) - expected).max() <= TOLERANCE * np.abs(expected).max()


def assert_deploys(result: onnx2mvit.Conversion, folder: Path) -> None:
    """LiteRT answers as onnxruntime does on the file."""
    made = onnx2mvit.deploy(result.folder, folder / "deployed", inputs=2)
    assert made.comparison.max_rel_error <= TOLERANCE


def tree(blocks: Iterable[Block]) -> Tree:
    """Kinds and hyperparameters without names, however normalization is exported."""
    return [
        (block.kind, without_batch_norm(block.params), tree(block.children))
        for block in blocks
        if block.kind != "BatchNorm"
    ]


def layers(blocks: Iterable[Block]) -> list[tuple[str, str, str, dict[str, Any]]]:
    """Blocks and layers by kind, name and path, however normalization is exported."""
    return [
        (block.kind, block.name, block.path, without_batch_norm(block.params))
        for top in blocks
        for block in top.walk()
        if block.pattern.nested or (block.weights and block.kind != "BatchNorm")
    ]


def without_batch_norm(params: dict[str, Any]) -> dict[str, Any]:
    """The hyperparameters that do not depend on where normalization is."""
    return {key: value for key, value in params.items() if key not in BATCH_NORM}
