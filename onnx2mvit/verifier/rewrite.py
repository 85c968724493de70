"""The rewrite alone: blocks as functions in ONNX, which onnxruntime runs like the file."""

from __future__ import annotations

from typing import Any

from onnx2mvit.base.memory import let_go
from onnx2mvit.base.quiet import one_line
from onnx2mvit.emitter import block_model
from onnx2mvit.errors import MALFORMED, InvalidModelError
from onnx2mvit.ir.network import Network
from onnx2mvit.runtimes import InBatches, Inputs, OnnxRuntimeRunner, Outputs, compare, worst
from onnx2mvit.runtimes.runner import Array


def check_rewrite(network: Network, inputs: Inputs, expected: Outputs) -> dict[str, Any]:
    """How far onnxruntime's answers to the block model are from those to the file, `expected`.

    Relative to the largest value; where it cannot be told, the reason.
    """
    weights: dict[str, Array] = {}
    try:
        made = block_model(network, weights).SerializeToString()
        session = OnnxRuntimeRunner(made, optimized=False, weights=weights)
        answers = InBatches(session, network.graph.batch_size, network.batch_axes)(inputs)
    except (InvalidModelError, *MALFORMED) as error:
        return {"max_rel_error": None, "why": one_line(error)}
    finally:
        let_go(weights.values())
    found = worst(compare(answers, expected).values())
    return {"max_rel_error": found.max_rel_error, "max_abs_error": found.max_abs_error}
