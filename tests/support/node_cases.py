"""A case for our converters: a model of ONNX, its inputs and what it must answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.support.node_opsets import (
    at_opset,
    copied,
    opset_of,
    same_meaning,
    schema_of,
    takes_these_types,
    versions_before,
)
from tests.support.run_graph import answers

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Case:
    """One test of ONNX: a model, its inputs by name, and what it must answer.

    `operator` is what it tests; `constants` are the inputs that are none of the network's, but
    stand in the file: shapes, axes, indices, and where need be weights.
    """

    name: str
    operator: str
    model: onnx.ModelProto
    inputs: dict[str, Array]
    expected: tuple[Array, ...]
    constants: frozenset[str]
    rtol: float = 1e-3  # as ONNX has it
    atol: float = 1e-7

    @property
    def data(self) -> list[str]:
        """The names of the inputs that the network has."""
        return [name for name in self.inputs if name not in self.constants]

    @property
    def is_body(self) -> bool:
        """True if the operator is a function, and the model is what it is made of."""
        return "_expanded" in self.name

    def with_weights(self) -> list[Case]:
        """The same with all tensors but one in the file, as a layer's weights are."""
        if len(self.data) < 2:
            return []
        return [replace(self, constants=frozenset(self.inputs) - {name}) for name in self.data]

    def asks_as(self, other: Case) -> bool:
        """True if the same is given and the same is expected."""
        return (
            self.constants == other.constants
            and all(self.inputs[name] is other.inputs[name] for name in self.data)
            and all(map(np.array_equal, self.expected, other.expected))
        )

    def file(self) -> onnx.ModelProto:
        """The model with the constants in it."""
        model = copied(self.model)
        kept = [value for value in model.graph.input if value.name in self.data]
        del model.graph.input[:]
        model.graph.input.extend(kept)
        for name in self.inputs:
            if name in self.constants:
                array = np.ascontiguousarray(self.inputs[name])
                model.graph.initializer.append(numpy_helper.from_array(array, name))
        return model


def first_output(case: Case) -> Iterator[Case]:
    """The case with its first output alone, where the others may be left out."""
    (node, *more), outputs = case.model.graph.node, case.model.graph.output
    formal = schema_of(node, opset_of(case.model)).outputs
    if len(outputs) > 1 and not more and len(formal) >= len(outputs):
        model = copied(case.model)
        del model.graph.output[1:]
        name = f"{case.name} (first output)"
        yield replace(case, name=name, model=model, expected=case.expected[:1])


def older(case: Case) -> Iterator[Case]:
    """The case in the opsets before its own in which its operator was another version.

    What the operator answered then is for onnxruntime to say, where it may be something else.
    """
    if len(case.model.graph.node) > 1:
        return
    (node,) = case.model.graph.node
    for opset in versions_before(node, opset_of(case.model)):
        model = at_opset(case.model, opset)
        same = same_meaning(node, opset_of(case.model), opset)
        changed = replace(case, model=model) if same else _as_it_was(case, model)
        if changed is not None and takes_these_types(changed.model):
            yield replace(changed, name=f"{case.name} (opset {opset})")


def _as_it_was(case: Case, model: onnx.ModelProto) -> Case | None:
    """The case with the operator's older meaning, and attributes where inputs came later."""
    (node,) = model.graph.node
    schema = schema_of(node, opset_of(model))
    names = list(node.input)
    formal = [each.name for each in schema_of(node, opset_of(case.model)).inputs]
    added = slice(len(schema.inputs), None)
    for name, parameter in zip(names[added], formal[added], strict=False):
        if name not in case.constants or parameter not in schema.attributes:
            return None
        if not case.inputs[name].size:
            return None
        node.input.remove(name)
        node.attribute.append(helper.make_attribute(parameter, case.inputs[name].tolist()))
    for attribute in [each for each in node.attribute if each.name not in schema.attributes]:
        node.attribute.remove(attribute)
    inputs = {name: array for name, array in case.inputs.items() if name in node.input}
    changed = replace(case, model=model, inputs=inputs)
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        expected = answers(changed.file(), {name: inputs[name] for name in changed.data})
    except Exception:  # onnxruntime has an exception of its own for each complaint
        return None
    return replace(changed, expected=tuple(expected))
