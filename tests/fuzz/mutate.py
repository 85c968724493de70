"""Mutations of an ONNX model that leave it a protobuf: fields, names, edges, shapes and operators.

Bytes that are flipped at random hardly ever get past the parser; these do.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

NUMBERS = (0, 1, -1, 2, 3, 7, 8, 255, 1 << 20, 1 << 31, (1 << 31) - 1, -(1 << 31), 1 << 40)
FURTHEST = (*NUMBERS, (1 << 63) - 1, -(1 << 63))
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-5, 1e38, -1e38, float("inf"), float("-inf"), float("nan"))
STRINGS = (
    *("", "x", "y", "'", '"', "\\", "\n", "{x}", "__import__('os')", "../../x", "class", "None"),
    *("\u202e", "а", "ｘ", "/a/a.0/b/Conv", "n" * 10_000, "input_shape", "keras", "0", "[" * 5000),
)
OPERATORS = sorted({schema.name for schema in onnx.defs.get_all_schemas()})


def mutated(data: bytes, rng: random.Random, others: list[bytes]) -> bytes | None:
    """Another model, or None if these bytes are none; parts of `others` may get into it."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:
        return None
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        change = rng.choice(CHANGES)
        # A name that is not UTF-8 comes as bytes, and cannot be written again.
        with contextlib.suppress(UnicodeDecodeError, TypeError):
            change(model, rng, others)
    return model.SerializeToString()


def _messages(message: Message) -> list[Message]:
    """A message and all those in it."""
    found = [message]
    field: Any
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if field.is_repeated else (value,):
                found += _messages(part)
    return found


def any_field(model: onnx.ModelProto, rng: random.Random, others: list[bytes]) -> None:
    """Sets, clears, doubles or shortens one field of one message, whatever it is."""
    kinds: dict[str, list[Message]] = {}
    for message in _messages(model):
        kinds.setdefault(message.DESCRIPTOR.name, []).append(message)
    message = rng.choice(kinds[rng.choice(sorted(kinds))])
    field: Any = rng.choice(message.DESCRIPTOR.fields)
    if field.is_repeated:
        _change_repeated(getattr(message, field.name), field, rng)
    elif field.message_type is not None:
        if message.HasField(field.name) and rng.random() < 0.5:
            message.ClearField(field.name)
        else:
            getattr(message, field.name).SetInParent()
    elif rng.random() < 0.15:
        message.ClearField(field.name)
    else:
        _set(message, field, _scalar(field, rng, getattr(message, field.name)))


def _change_repeated(values: Any, field: Any, rng: random.Random) -> None:
    action = rng.choice(("delete", "double", "swap", "append", "change", "clear"))
    at = rng.randrange(len(values)) if len(values) else 0
    if action == "append" or not len(values):
        if field.message_type is not None:
            values.add()
        else:
            _append(values, _scalar(field, rng, None))
    elif action == "delete":
        del values[at]
    elif action == "clear":
        del values[:]
    elif action == "double":
        values.append(values[at])
    elif field.message_type is not None:
        other = rng.randrange(len(values))
        kept = type(values[at])()
        kept.CopyFrom(values[at])
        values[at].CopyFrom(values[other])
        values[other].CopyFrom(kept)
    else:
        values[at] = _scalar(field, rng, values[at])


def _append(values: Any, value: object) -> None:
    try:
        values.append(value)
    except (ValueError, TypeError):
        values.append(0)


def _set(message: Message, field: Any, value: object) -> None:
    try:
        setattr(message, field.name, value)
    except (ValueError, TypeError):  # out of the range of an int32 or of an enum
        setattr(message, field.name, 0)


def _scalar(field: Any, rng: random.Random, old: Any) -> Any:
    if field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return rng.choice(FLOATS)
    if field.type == FieldDescriptor.TYPE_BYTES:
        kept: bytes = old or b""
        cut = kept[: rng.randrange(len(kept) + 1)]
        return rng.choice((cut, kept + b"\0" * 4, rng.choice(STRINGS).encode()))
    if field.type == FieldDescriptor.TYPE_STRING:
        return rng.choice(STRINGS)
    if field.type == FieldDescriptor.TYPE_ENUM:
        return rng.choice([value.number for value in field.enum_type.values])
    if field.type in (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_UINT32):
        return rng.choice((*NUMBERS[:9], rng.randrange(30), (old or 0) + 1))
    near = (old or 0) + rng.choice((-1, 1)) if abs(old or 0) < 1 << 62 else 0
    return rng.choice((*FURTHEST, rng.randrange(30), near, near))


def rewire(model: onnx.ModelProto, rng: random.Random, others: list[bytes]) -> None:
    """Lets a node read another value, mostly one that is there."""
    nodes = [node for node in model.graph.node if node.input]
    if not nodes:
        return
    node = rng.choice(nodes)
    names = [name for each in model.graph.node for name in (*each.output, *each.input)]
    names += [value.name for value in model.graph.input]
    names += [tensor.name for tensor in model.graph.initializer]
    node.input[rng.randrange(len(node.input))] = rng.choice(names)


def another_operator(model: onnx.ModelProto, rng: random.Random, others: list[bytes]) -> None:
    """Gives a node the name of another operator."""
    if model.graph.node:
        rng.choice(model.graph.node).op_type = rng.choice(OPERATORS)


def another_output(model: onnx.ModelProto, rng: random.Random, others: list[bytes]) -> None:
    """Hands out another value, or one more."""
    names = [name for node in model.graph.node for name in node.output]
    if not names:
        return
    if rng.random() < 0.5 or not model.graph.output:
        model.graph.output.add(name=rng.choice(names)).type.tensor_type.elem_type = 1
    else:
        rng.choice(model.graph.output).name = rng.choice(names)


def another_shape(model: onnx.ModelProto, rng: random.Random, others: list[bytes]) -> None:
    """Changes a length of an input, or of a weight with its data."""
    dims = [dim for value in model.graph.input for dim in value.type.tensor_type.shape.dim]
    if dims and rng.random() < 0.5:
        rng.choice(dims).dim_value = rng.choice((1, 2, 3, 4, 6, 7, 8, 16, 31, 0, -1, 1 << 20))
        return
    weights = [each for each in model.graph.initializer if each.dims]
    if weights:
        weight = rng.choice(weights)
        axis = rng.randrange(len(weight.dims))
        rows = rng.choice((1, 2, 3, 4, 8, 16))
        if weight.dims[axis] > 0 and len(weight.raw_data) % weight.dims[axis] == 0:
            size = len(weight.raw_data) // weight.dims[axis] * rows
            weight.raw_data = (weight.raw_data * rows)[:size]
        weight.dims[axis] = rows


def integers(model: onnx.ModelProto, rng: random.Random, others: list[bytes]) -> None:
    """Changes a number in a constant of integers: shapes, axes, bounds."""
    found = [each for each in model.graph.initializer if each.data_type == 7 and each.raw_data]
    for node in model.graph.node:
        found += [a.t for a in node.attribute if a.t.data_type == 7 and a.t.raw_data]
    if found:
        tensor = rng.choice(found)
        at = rng.randrange(max(1, len(tensor.raw_data) // 8)) * 8
        number = rng.choice((*FURTHEST, rng.randrange(30)))
        raw = number.to_bytes(8, "little", signed=True)
        tensor.raw_data = tensor.raw_data[:at] + raw + tensor.raw_data[at + 8 :]


def graft(model: onnx.ModelProto, rng: random.Random, others: list[bytes]) -> None:
    """Puts some nodes of another model behind one of this one."""
    if not others or not model.graph.node:
        return
    other = onnx.ModelProto()
    other.ParseFromString(rng.choice(others))
    if not other.graph.node:
        return
    start = rng.randrange(len(other.graph.node))
    nodes = other.graph.node[start : start + rng.randrange(1, 6)]
    prefix = f"g{rng.randrange(1 << 20)}_"
    outside = {node.output[0] for node in model.graph.node if node.output}
    held = {tensor.name: tensor for tensor in other.graph.initializer}
    at = sorted(outside, key=str)[rng.randrange(len(outside))] if outside else ""
    made = {name for node in nodes for name in node.output}
    for node in nodes:
        added = model.graph.node.add()
        added.CopyFrom(node)
        for index, name in enumerate(node.input):
            added.input[index] = prefix + name if name in made or name in held else at
            if name in held:
                tensor = model.graph.initializer.add()
                tensor.CopyFrom(held.pop(name))
                tensor.name = prefix + name
        for index, name in enumerate(node.output):
            added.output[index] = prefix + name
    if model.graph.output and nodes[-1].output:
        model.graph.output[0].name = prefix + nodes[-1].output[0]
        model.graph.output[0].type.tensor_type.ClearField("shape")


def drop_node(model: onnx.ModelProto, rng: random.Random, others: list[bytes]) -> None:
    """Takes a node out; what read it reads what it read."""
    if not model.graph.node:
        return
    at = rng.randrange(len(model.graph.node))
    gone = model.graph.node[at]
    source = gone.input[0] if gone.input else ""
    outputs = set(gone.output)
    del model.graph.node[at]
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name in outputs:
                node.input[index] = source
    for value in model.graph.output:
        value.name = source if value.name in outputs else value.name


Change = Callable[[onnx.ModelProto, random.Random, list[bytes]], None]
CHANGES: tuple[Change, ...] = (
    *(any_field, any_field, any_field, rewire, rewire, another_operator, another_output),
    *(another_shape, integers, integers, graft, drop_node),
)
