"""Recurrent layers over sequences, in one direction or in both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from onnx2mvit.ir.code import KerasCode
from onnx2mvit.ir.expr import Call, KerasExpr, Operand, call, layer
from onnx2mvit.ir.keras_layers import ACTIVATIONS
from onnx2mvit.ir.layout import Order, plain
from onnx2mvit.lowering.operators.context import OpContext, Output
from onnx2mvit.lowering.operators.operands import MixesBatch
from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.matcher.rooted import Array, require


@dataclass(frozen=True)
class Cell:
    """What a step of a layer is: the place of Keras's gates in ONNX's, and its states."""

    kind: str
    name: str
    gates: tuple[int, ...]
    activations: tuple[str, ...]
    states: tuple[str, ...] = ("h",)


CELLS = {
    "LSTM": Cell("LSTM", "lstm", (0, 2, 3, 1), ("Sigmoid", "Tanh", "Tanh"), ("h", "c")),
    "GRU": Cell("GRU", "gru", (0, 1, 2), ("Sigmoid", "Tanh")),
    "RNN": Cell("SimpleRNN", "simple_rnn", (0,), ("Tanh",)),
}


@operator("LSTM", 7, 14, 22)
@operator("GRU", 7, 14, 22)
@operator("RNN", 7, 14, 22)
def recurrent(op: OpContext) -> KerasCode:
    """As the layer of its name, in `Bidirectional` for both directions.

    ONNX has sequences (T, B, inputs), or (B, T, inputs) where its layout is 1; the directions of
    its first output were joined when the file was read.
    """
    cell, batch_first = CELLS[op.node.op], bool(op.attrs.get("layout", 0))
    _refuse_what_keras_lacks(op, cell)
    order: Order = plain(3) if batch_first else (1, 0, 2)
    if op.layout().batch not in (order[0], None):
        raise MixesBatch(f"{op.node.op} goes over the images of a batch")
    direction, batch = op.attrs.get("direction", "forward"), op.layout().batch
    both = direction == "bidirectional"
    states = any(op.is_used(index) for index in range(1, len(op.node.outputs)))
    x = _layer(op, cell, direction, states)(
        op.data(0, order), initial_state=_initial_states(op, cell, order)
    )
    y: KerasExpr = Operand(0) if states else x
    y = call("ops.flip", y, 1) if direction == "reverse" else y
    if not states:
        return op.code(y, order, batch)
    results: list[Output] = [("y", y, order, batch)]
    for index, name in enumerate(cell.states, start=1):
        places = [Operand(index), *([Operand(index + len(cell.states))] if both else [])]
        results.append((name, call("ops.stack", places, axis=1), order, batch))
    ways = [f"{way}_" for way in ("forward", "backward")] if both else [""]
    parts = ["y", *(f"{way}{state}" for way in ways for state in cell.states)]
    return op.several(x, parts, results)


def _refuse_what_keras_lacks(op: OpContext, cell: Cell) -> None:
    attrs, given = op.attrs, len(cell.states)
    require(not op.is_used(0) or "joined" in attrs, "its weights are computed")
    require(not attrs.get("clip"), "its gates are clipped")
    require(not attrs.get("input_forget"), "its input and forget gates are one")
    steps = 1 if attrs.get("layout", 0) else 0
    if op.has(4):
        require(bool((op.const(4) == op.shape()[steps]).all()), "its sequences differ in length")
        op.has_lengths_of([steps])
    if op.has(5 + given):
        require(not op.const(5 + given).any(), "it has peepholes")


def _layer(op: OpContext, cell: Cell, direction: str, states: bool) -> Call:
    """The layer, and its weights."""
    both = direction == "bidirectional"
    own = f"{cell.name}_cell"
    names = [f"{way}_{cell.name}/{own}" for way in ("forward", "backward")] if both else [own]
    for index, name in enumerate(names):
        for key, array in _weights(op, cell, index):
            op.weights[f"{name}/{key}"] = array
    options = {
        "activation": _activation(op, cell, len(names)),
        "return_sequences": op.is_used(0) or None,
        "return_state": states or None,
        "reset_after": False if op.node.op == "GRU" and not _resets_after(op) else None,
        "use_bias": None if op.has(3) else False,
    }
    units = op.const(2).shape[-1]
    if both:
        return layer("Bidirectional", call(f"layers.{cell.kind}", units, **options, name=cell.name))
    return layer(cell.kind, units, **options, go_backwards=direction == "reverse" or None)


def _activation(op: OpContext, cell: Cell, directions: int) -> str | None:
    """Keras's name for the function of a SimpleRNN; None where it is as usual."""
    given = tuple(op.attrs.get("activations") or cell.activations * directions)
    usual = given == cell.activations * directions
    numbers = op.attrs.get("activation_alpha") or op.attrs.get("activation_beta")
    simple = op.node.op == "RNN" and len({*given}) == 1 and given[0] in ACTIVATIONS
    require(usual or (simple and not numbers), f"its activations are {', '.join(given)}")
    return None if usual else ACTIVATIONS[given[0]]


def _resets_after(op: OpContext) -> bool:
    """True if a GRU multiplies by its reset gate what the recurrent weights made of the state."""
    return bool(op.attrs.get("linear_before_reset", 0))


def _weights(op: OpContext, cell: Cell, direction: int) -> Iterator[tuple[str, Array]]:
    """The weights of one direction in Keras's layout, with its gates in Keras's order."""

    def gates(array: Array) -> Array:
        parts = np.split(array, len(cell.gates))
        return np.concatenate([parts[gate] for gate in cell.gates])

    yield "kernel", gates(op.const(1)[direction]).T
    yield "recurrent_kernel", gates(op.const(2)[direction]).T
    if op.has(3):
        pair = np.stack([gates(bias) for bias in np.split(op.const(3)[direction], 2)])
        yield "bias", pair if _resets_after(op) else pair.sum(axis=0)


def _initial_states(op: OpContext, cell: Cell, order: Order) -> list[KerasExpr] | None:
    """The states that a sequence begins with, those of one direction after the other's."""
    given = range(5, 5 + len(cell.states))
    for index in given:
        if op.has(index) and op.value(index).const is not None:
            require(not op.const(index).any(), "it begins with states that are learned")
    computed = [op.has(index) and op.value(index).const is None for index in given]
    if not any(computed):
        return None
    require(all(computed), "it begins with one of two states")
    for index in given:
        require(op.layout(index).batch == op.layout().batch, "its states have another batch")
    states = [op.data(index, order) for index in given]
    directions = op.shape(1)[0]
    return [state.along(1, place) for place in range(directions) for state in states]
