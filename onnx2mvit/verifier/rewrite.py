"""The rewrite alone: blocks as functions in ONNX, which onnxruntime runs like the file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from onnx2mvit.base.quiet import one_line
from onnx2mvit.emitter import block_model
from onnx2mvit.errors import MALFORMED, InvalidModelError
from onnx2mvit.ir.block import onnx_nodes_of
from onnx2mvit.ir.graph import Node, Value
from onnx2mvit.ir.network import Network
from onnx2mvit.runtimes import InBatches, Inputs, OnnxRuntimeRunner, Outputs, compare, worst

LARGEST = 1 << 30  # bytes of weights that are checked; a message of protobuf has no 2 GiB


def check_rewrite(network: Network, inputs: Inputs, expected: Outputs) -> dict[str, Any]:
    """How far onnxruntime's answers to the block model are from those to the file, `expected`.

    Relative to the largest value; where it cannot be told, the reason.
    """
    constants = {value for node in network.graph for value in _constants(node)}
    if sum(value.const.nbytes for value in constants if value.const is not None) > LARGEST:
        return {"max_rel_error": None, "why": "the weights are too large for one message"}
    try:
        made = block_model(network).SerializeToString()
        session = OnnxRuntimeRunner(made, optimized=False)
        answers = InBatches(session, network.graph.batch_size, network.batch_axes)(inputs)
    except (InvalidModelError, *MALFORMED) as error:
        return {"max_rel_error": None, "why": one_line(error)}
    found = worst(compare(answers, expected).values())
    return {"max_rel_error": found.max_rel_error, "max_abs_error": found.max_abs_error}


def _constants(node: Node) -> Iterable[Value]:
    return (value for each in onnx_nodes_of(node) for value in each.inputs if value is not None)
