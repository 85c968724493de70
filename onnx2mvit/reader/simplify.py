"""Constants are folded and shapes inferred, until a graph says as little as it can."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import onnx_ir as ir
from onnx_ir.passes import common as passes

from onnx2mvit.base.quiet import one_line
from onnx2mvit.errors import MALFORMED, InvalidModelError
from onnx2mvit.reader.defaults import add_defaults
from onnx2mvit.reader.dequantize import dequantize
from onnx2mvit.reader.folding import fold
from onnx2mvit.reader.limits import Budget, refuse_expansion
from onnx2mvit.reader.numpy_folding import COMPUTED, fold_by_numpy

STAND_INS = {
    "GroupNormalization": "InstanceNormalization",
    "MeanVarianceNormalization": "LpNormalization",
}


def simplify(model: ir.Model, file: str) -> None:
    """Inlines functions and folds constants; BatchNormalization is left as it is.

    Raises:
        InvalidModelError: that fails.
        UnsupportedError: the functions expand to too many operators.
    """
    refuse_expansion(model, file)
    budget = Budget(model)
    try:
        if model.functions:
            passes.InlinePass()(model)
        _RemoveIdentities()(model)
        _fold(model, budget)
        while dequantize(model) + fold_by_numpy(model, budget):
            _fold(model, budget)
        outputs = (output for node in model.graph for output in node.outputs)
        if any(value.shape is None or not value.shape.is_static() for value in outputs):
            # Looking at one node at a time, folding sees no functions and no scales of a Resize.
            passes.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=False)(model)
            _fold(model, budget)
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
        _RemoveIdentities()(model)
        passes.RemoveUnusedNodesPass()(model)
        add_defaults(model)
    except (RuntimeError, ir.passes.PassError, *MALFORMED) as error:
        raise InvalidModelError(f"{file} cannot be simplified: {one_line(error)}") from error


class _RemoveIdentities(passes.IdentityEliminationPass):
    """Leaves those by which a branch gives what lies outside of it: it must make its outputs.

    The method is onnx-ir's own (1.1.0). Where a later one has none of that name, this one is not
    called.
    """

    def _try_eliminate_identity_node(self, node: ir.Node) -> bool:
        makers = [value.producer() for value in node.inputs if value is not None]
        outside = any(maker is not None and maker.graph is not node.graph for maker in makers)
        if outside and any(output.is_graph_output() for output in node.outputs):
            return False
        return super()._try_eliminate_identity_node(node)


def _fold(model: ir.Model, budget: Budget) -> None:
    with _known_shapes(model):
        fold(model, lambda node: _may_fold(node, budget))


@contextmanager
def _known_shapes(model: ir.Model) -> Iterator[None]:
    """Meanwhile: operators that ONNX (1.23.2) infers no shape for have the names of like ones."""
    nodes = [node for node in model.graph if node.op_type in STAND_INS]
    own = [(node.op_type, dict(node.attributes)) for node in nodes]
    for node in nodes:
        node.op_type = STAND_INS[node.op_type]
        node.attributes.clear()
    yield
    for node, (name, attributes) in zip(nodes, own, strict=True):
        node.op_type = name
        node.attributes.update(attributes)


def _may_fold(node: ir.Node, budget: Budget) -> bool | None:
    if node.op_type in STAND_INS.values() or node.op_type in COMPUTED or not budget.allows(node):
        return False
    # onnxscript leaves it alone by default; legacy computes the sizes of a Pad with it.
    return True if node.op_type == "ConstantOfShape" else None
