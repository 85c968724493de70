"""OpenVINO files, NAME.xml with NAME.bin: from our ONNX, whose images are NCHW inside.

Keras's own export goes by TensorFlow's graph, and its file takes four times as long. OpenVINO
computes in bfloat16 where the processor can, unless it is told otherwise when a file is loaded.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onnx2mvit.base.optional import optional
from onnx2mvit.base.quiet import loggers_at, quiet
from onnx2mvit.deployment.candidates import Candidates, Operator, by_block, split
from onnx2mvit.deployment.choice import Choice, Progress, Wanted, chosen
from onnx2mvit.deployment.interface import Interface, in_keras_layout, turned
from onnx2mvit.errors import InvalidModelError, UnsupportedError
from onnx2mvit.runtimes import OpenVINORunner, Runner, import_openvino, read_openvino
from onnx2mvit.runtimes.openvino_runner import HINT, NAMES, PINNED
from onnx2mvit.runtimes.runner import batch_size, rows

Array = np.ndarray[Any, Any]
WEIGHTED = ("Convolution", "GroupConvolution", "MatMul")
METADATA = "onnx2mvit"


def load_line(file: str, precision: str) -> str:
    """How a file is loaded in Python so that it computes in its precision."""
    options = {HINT: NAMES[precision]}
    return f"openvino.Core().compile_model({file!r}, 'CPU', {options})"


def openvino_model(onnx: Path, interface: Interface) -> Any:
    """The model of an ONNX file, under the names of the interface.

    Raises:
        UnsupportedError: OpenVINO cannot read it.
        MissingDependencyError: OpenVINO is not installed.
    """
    try:
        model = read_openvino(onnx)
    except InvalidModelError as error:
        raise UnsupportedError(
            "the network cannot be a file of OpenVINO; `--format onnx` writes what it was to be "
            f"made of: {error}"
        ) from error
    for kind, tensors in (("inputs", interface.inputs), ("outputs", interface.outputs)):
        for port, tensor in zip(getattr(model, kind), tensors, strict=True):
            port.get_tensor().set_names({tensor.name})
    return model


def save_openvino(model: Any, file: Path, entries: Mapping[str, Any], precision: str) -> None:
    """Writes a model with metadata, and with the precision that it is to be computed in.

    In bfloat16 its weights are written in float16, which loses less than that.
    """
    model.set_rt_info(NAMES[precision], PINNED)
    for key, value in entries.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        model.set_rt_info(text, [METADATA, key])
    with quiet():
        import_openvino().save_model(model, file, compress_to_fp16=precision == "bfloat16")


def openvino_metadata(file: Path) -> dict[str, Any]:
    """The entries that `save_openvino` wrote into a file; empty where it did not.

    Raises:
        InvalidModelError: OpenVINO cannot read it.
        MissingDependencyError: OpenVINO is not installed.
    """
    model = read_openvino(file)
    if not model.has_rt_info([METADATA]):
        return {}
    found = {key: str(value) for key, value in model.get_rt_info([METADATA]).value.items()}
    return {key: _plain(text) for key, text in found.items()}


def _plain(text: str) -> Any:
    """What was written as JSON, or the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def quantize(
    model: Any,
    blocks: Sequence[str],
    interface: Interface,
    file: Interface,
    inputs: Mapping[str, Array],
    progress: Progress,
    wanted: Wanted,
) -> tuple[Any, Choice]:
    """A model with int8 weights and activations, and which of its blocks are so.

    NNCF measures the ranges of activations. Blocks that stay in float32 are ignored scopes.

    Args:
        model: in float32.
        blocks: the names of those whose losses are told apart.
        interface: what the Keras model takes and gives.
        file: what this model does.
        inputs: by name, as Keras takes them, as `split` has them: on the first ranges are measured.
        progress: is told how many blocks have been tried.
        wanted: what says which blocks stay in float32.

    Raises:
        MissingDependencyError: NNCF is not installed.
        UnsupportedError: nothing in the network can be in int8.
        UsageError: a block that is to stay in float32 is not there, or all are.
    """
    operators = [_operator(each) for each in model.get_ordered_ops()]
    groups = by_block(operators, blocks)
    weighted = {
        block: [each for each in group if each.weights]
        for block, group in groups.items()
        if any(each.weights for each in group)
    }
    few, others = split(interface, inputs, wanted.agreement is not None)
    given = turned(few, interface.inputs, file.inputs)
    count, step = batch_size(given, interface.axes) or 1, interface.batch or 1
    samples = [
        rows(given, interface.axes, slice(start, start + step))
        for start in range(0, max(count - step, 0) + 1, step)
    ]

    def quantized(members: Sequence[Operator]) -> Any:
        taken = {block for block, group in weighted.items() if set(group) & set(members)}
        wide = (group for block, group in groups.items() if block not in taken)
        return _by_nncf(model, samples, [each.scope for group in wide for each in group])

    def runner(members: Sequence[Operator], _: Sequence[Operator]) -> Runner:
        made = quantized(members) if members else model
        return in_keras_layout(OpenVINORunner(made), interface, file)

    nets = Candidates(interface, weighted, runner)
    choice = chosen(nets, few, others, progress, wanted)
    return quantized(choice.members), choice


def _operator(node: Any) -> Operator:
    """An operator by its name, which begins with the path of its layer, and its weights.

    What it saves is told in these, as its size is open.
    """
    name, kind = node.get_friendly_name(), node.get_type_name()
    weights = 0
    if kind in WEIGHTED:
        source = node.input(1).get_source_output()
        constant = source.get_node().get_type_name() == "Constant"
        weights = math.prod(source.get_shape()) if constant else 0
    return Operator(kind, name, name, weights, saved=weights)


def _by_nncf(model: Any, samples: Sequence[Mapping[str, Array]], ignored: Sequence[str]) -> Any:
    os.environ.setdefault("NNCF_CI", "1")  # else it tells Intel's server of each call
    nncf = optional("nncf")
    softmax = any(node.get_type_name() == "Softmax" for node in model.get_ops())
    with quiet(), loggers_at(logging.ERROR, "nncf"):
        return nncf.quantize(
            model.clone(),
            nncf.Dataset(samples),
            subset_size=len(samples),
            model_type=nncf.ModelType.TRANSFORMER if softmax else None,
            ignored_scope=nncf.IgnoredScope(names=list(ignored), validate=False),
        )
