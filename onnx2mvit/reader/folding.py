"""Folding of constants by onnxscript, which infers the shapes of a node anew only where it must."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import onnx_ir as ir
from onnxscript.optimizer import _constant_folding as onnxscript

ANY_SIZE = 1 << 62  # `limits.Budget` says what is too large
LOOKED_INTO = 20  # a constant of more elements says nothing of shapes, as onnxscript has it
PLAIN = (ir.AttributeType.INT, ir.AttributeType.FLOAT, ir.AttributeType.STRING)
ROWS = (ir.AttributeType.INTS, ir.AttributeType.FLOATS, ir.AttributeType.STRINGS)

Inferred = tuple[tuple[ir.DataType, tuple[int, ...]], ...]  # type and shape of each output


def fold(model: ir.Model, should_fold: Callable[[ir.Node], bool | None]) -> None:
    """Folds constants of any size, and infers shapes on the way.

    Args:
        model: it is changed.
        should_fold: says whether a node whose inputs are constants is folded; None leaves that to
            onnxscript.
    """
    _Folding(
        shape_inference=True,
        input_size_limit=ANY_SIZE,
        output_size_limit=ANY_SIZE,
        should_fold=should_fold,
    )(model)


class _Folding(onnxscript.FoldConstantsPass):
    """Remembers what ONNX inferred for a like node: to ask it again is most of the time.

    `_do_inference` is onnxscript's own (0.5.6 to 0.7.2). Where a later one has no method of that
    name, this one is not called, and each node is asked for again.
    """

    _known: dict[Hashable, Inferred]
    _operands: dict[ir.Value, Hashable]  # what is asked of those that were looked at
    _constants: dict[ir.Value, Hashable]

    def call(self, model: ir.Model) -> onnxscript.FoldConstantsResult:
        self._known, self._operands, self._constants = {}, {}, {}
        return super().call(model)

    def _do_inference(self, node: ir.Node) -> None:
        fresh = all(output.shape is None for output in node.outputs)
        key = self._signature(node) if fresh else None
        known = None if key is None else self._known.get(key)
        if known is None:
            super()._do_inference(node)
            if key is not None and (found := _inferred(node)) is not None:
                self._known[key] = found
            return
        for output, (dtype, shape) in zip(node.outputs, known, strict=True):
            output.shape, output.type = ir.Shape(shape), ir.TensorType(dtype)
            self._operands[output] = dtype, shape, None

    def _signature(self, node: ir.Node) -> Hashable | None:
        """All that types and shapes of what a node makes depend on; None if that is too much."""
        attributes = []
        for name, attr in node.attributes.items():
            if attr.is_ref() or attr.type not in (*PLAIN, *ROWS):
                return None
            value = tuple(attr.value) if attr.type in ROWS else attr.value
            attributes.append((name, attr.type, value))
        operands: list[Hashable] = []
        for value in node.inputs:
            operand: Hashable = None
            if value is not None:
                known = self._operands if value.const_value is None else self._constants
                if (operand := known.get(value)) is None:
                    if (operand := _operand(value)) is None:
                        return None
                    known[value] = operand
            operands.append(operand)
        named = tuple(bool(output.name) for output in node.outputs)
        operator = node.domain, node.op_type, node.overload
        return operator, tuple(attributes), tuple(operands), named


def _operand(value: ir.Value) -> Hashable | None:
    """What inference asks of an operand; None where it is not a tensor of a known shape."""
    shape, tensor = value.shape, value.const_value
    if shape is None or not isinstance(value.type, ir.TensorType) or not shape.is_static():
        return None
    data = None
    if tensor is not None and tensor.size <= LOOKED_INTO:
        if isinstance(tensor, ir.ExternalTensor | ir.StringTensor):
            return None
        data = tensor.dtype, tensor.tobytes()
    return value.type.dtype, shape.dims, data


def _inferred(node: ir.Node) -> Inferred | None:
    """Type and shape of all outputs of a node; None where one is not known."""
    found = []
    for output in node.outputs:
        shape = output.shape
        if shape is None or not isinstance(output.type, ir.TensorType) or not shape.is_static():
            return None
        found.append((output.type.dtype, shape.numpy()))
    return tuple(found)
