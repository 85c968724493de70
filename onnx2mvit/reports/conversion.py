"""What report.json holds of a conversion: the network, the model that came of it, the proof."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from onnx2mvit.base.versions import versions
from onnx2mvit.ir.network import Network
from onnx2mvit.lifter.head import HeadChoice
from onnx2mvit.reports.report import (
    by_rule,
    describe,
    layout_transposes,
    shared_parameters,
    single_operators,
)
from onnx2mvit.runtimes.inputs import below
from onnx2mvit.verifier import Verification

if TYPE_CHECKING:
    import keras

SCHEMA_VERSION = 2  # of docs/report.schema.json: a key that goes, or means another thing, raises it


def conversion_report(
    network: Network,
    model: keras.Model,
    head: HeadChoice,
    swap: dict[str, Any] | None,
    verification: Verification | None,
    others: list[dict[str, Any]],
    seconds: dict[str, float],
) -> dict[str, Any]:
    """What report.json holds of a conversion.

    Args:
        network: as it was lifted and lowered.
        model: as it is written, with another head or other activations than the file's if that
            was asked for.
        head: what was asked for.
        swap: in how many layers hard swish took the place of SiLU, and how far from the file that
            is; None if it was not asked for.
        verification: of the model with the file's own head and activations, if there was one.
        others: what the file makes of other sizes, as `verifier.look_elsewhere` says it.
        seconds: how long each stage took.
    """
    described = describe(network)
    for kind, tensors in (("inputs", model.inputs), ("outputs", model.outputs)):
        if len(tensors) == len(described[kind]):
            for entry, made in zip(described[kind], tensors, strict=True):
                if entry["shape"] is not None and len(entry["shape"]) == len(made.shape):
                    entry["shape"] = list(made.shape)
    for entry, name in zip(described["outputs"], model.output_names, strict=False):
        entry["keras_name"] = name
    for entry, value in zip(described["inputs"], network.graph.inputs, strict=True):
        entry["below"] = below(network, value)
    if network.image is not None:
        _, *size, _ = described["inputs"][network.graph.inputs.index(network.image)]["shape"]
        if None not in size:  # that of the model, which need not be the traced one
            described["preprocessing"]["size"] = size
    traced = list(network.traced_size) if network.traced_size is not None else None
    agreeing = [each["size"] for each in others if each["onnxruntime"] == "agrees"]
    # A network may refuse some sizes by its nature, and take others.
    elsewhere = max(others, key=lambda each: each["size"] in agreeing, default=None)
    proven = verification is not None and verification.passed
    trainable = sum(math.prod(variable.shape) for variable in model.trainable_weights)
    return {
        "schema_version": SCHEMA_VERSION,
        "versions": versions(),
        "onnx": described.pop("onnx"),
        "model": {
            "name": model.name,
            "input_shape": list(model.inputs[0].shape),
            "parameters": model.count_params(),
            "trainable_parameters": trainable,
            "copied_parameters": shared_parameters(network.blocks),
            "layout_transposes": layout_transposes(network),
            "head": head,
        },
        **described,
        "hard_activations": swap,
        "single_operators": single_operators(network),
        "sizes": {
            "traced": traced,
            "proven": [traced, *agreeing] if proven and traced else [],
            "by_rule": by_rule(network),
            "counted": {name: list(places) for name, places in network.counted.items()},
            "size_or_factor": network.size_or_factor,
            "file_elsewhere": elsewhere if network.graph.source.dynamic_size else None,
        },
        "verification": verification.as_dict() if verification is not None else None,
        "seconds": seconds,
    }
