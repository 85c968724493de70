"""ONNX's own backend tests as cases for our converters.

The wheel of onnx has a test for every way to use an operator: a model of one node (or of the
nodes of a function's body, `…_expanded`), with inputs and the outputs that are expected. Each is
brought to an opset that we read, and to older ones in which its operator was another version.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.backend.test
from onnx import helper, numpy_helper
from onnx.defs import OpSchema

from tests.node_opsets import (
    at_a_known_opset,
    at_opset,
    copied,
    opset_of,
    same_meaning,
    schema_of,
    takes_these_types,
    versions_before,
)
from tests.run_graph import answers

Array = np.ndarray[Any, Any]
DATA = Path(onnx.backend.test.__file__).parent / "data"
FOLDERS = ("pytorch-operator", "pytorch-converted", "simple")  # models as files, of old opsets


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


@cache
def cases() -> dict[str, list[Case]]:
    """All cases of float32 by the operator that they test."""
    found: dict[str, list[Case]] = {}
    for case in (*_from_nodes(), *_from_files()):
        found.setdefault(case.operator, []).append(case)
    return found


def _from_nodes() -> Iterator[Case]:
    from onnx.backend.test.case import node

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        collected = node.collect_testcases()
    operators: dict[str, str] = {}
    for test in collected:
        # The body of a function comes after the function.
        operator = test.model.graph.node[0].op_type
        operator = operators.setdefault(test.name.partition("_expanded")[0], operator)
        made = _float_case(test.name, operator, test.model, *test.data_sets[0])
        if made is not None:
            yield made
            yield from _first_output(made)


def _from_files() -> Iterator[Case]:
    for folder in FOLDERS:
        for path in sorted((DATA / folder).iterdir()):
            model = onnx.load(path / "model.onnx")
            inputs, outputs = (
                [_array(file) for file in sorted((path / "test_data_set_0").glob(f"{kind}_*.pb"))]
                for kind in ("input", "output")
            )
            operator = model.graph.node[-1].op_type
            made = _float_case(f"{folder}/{path.name}", operator, model, inputs, outputs)
            if made is not None and _is_right(made):
                yield made


def _array(file: Path) -> Array | None:
    """The tensor in a file; None if it holds something else."""
    tensor = onnx.TensorProto()
    tensor.ParseFromString(file.read_bytes())
    return numpy_helper.to_array(tensor) if tensor.data_type else None


def _is_right(case: Case) -> bool:
    """True if onnxruntime agrees; what a model of an old opset was lifted to may be wrong."""
    try:
        found = answers(case.file(), {name: case.inputs[name] for name in case.data})
    except Exception:  # onnxruntime has an exception of its own for each complaint
        return False
    close = partial(np.allclose, rtol=case.rtol, atol=case.atol, equal_nan=True)
    return all(map(close, found, case.expected))


def _float_case(
    name: str, operator: str, model: onnx.ModelProto, inputs: Sequence[Any], outputs: Sequence[Any]
) -> Case | None:
    """The case, if it is one of float32: a tensor of float32 comes in, and no other floats.

    Logic, which has truth values alone, gets them from floats; float64 is made float32.
    """
    tensors = [*inputs, *outputs]
    if not all(isinstance(each, np.ndarray) and each.dtype.kind in "fbiu" for each in tensors):
        return None
    known = at_a_known_opset(model)
    if known is None:
        return None
    floats = {each.dtype for each in tensors if each.dtype.kind == "f"}
    if floats == {np.dtype(np.float64)} and "Cast" not in operator and len(known.graph.node) == 1:
        known = _retyped(known, onnx.TensorProto.DOUBLE)
        inputs, outputs = ([_as_float32(each) for each in some] for some in (inputs, outputs))
    elif floats - {np.dtype(np.float32)}:
        return None
    held = {tensor.name for tensor in known.graph.initializer}
    names = [value.name for value in known.graph.input if value.name not in held]
    if all(array.dtype == np.bool_ for array in inputs):
        known = _with_casts(_retyped(known, onnx.TensorProto.BOOL), names)
        inputs = [array.astype(np.float32) for array in inputs]
    given = dict(zip(names, inputs, strict=True))
    optional = _optional_scalars(known, given)
    constants = frozenset(
        key for key, array in given.items() if array.dtype != np.float32 or key in optional
    )
    if len(constants) == len(given):
        return None
    return Case(name, operator, known, given, tuple(outputs), constants)


def _as_float32(array: Array) -> Array:
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _retyped(model: onnx.ModelProto, old: int) -> onnx.ModelProto:
    """The model with inputs and outputs of float32 in the place of those of another type."""
    changed = copied(model)
    values = [*changed.graph.input, *(changed.graph.output if old != onnx.TensorProto.BOOL else ())]
    for value in values:
        if value.type.tensor_type.elem_type == old:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return changed


def _with_casts(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """The model with truth values that a Cast makes of these inputs."""
    changed = copied(model)
    for node in changed.graph.node:
        node.input[:] = [f"{name}_bool" if name in names else name for name in node.input]
    for name in names:
        cast = helper.make_node("Cast", [name], [f"{name}_bool"], to=onnx.TensorProto.BOOL)
        changed.graph.node.insert(0, cast)
    return changed


def _optional_scalars(model: onnx.ModelProto, given: dict[str, Array]) -> set[str]:
    """Single numbers that an operator may have or not: Clip's bounds, Pad's value."""
    found = set()
    for node in model.graph.node:
        formal = schema_of(node, opset_of(model)).inputs
        for name, parameter in zip(node.input, formal, strict=False):
            optional = parameter.option == OpSchema.FormalParameterOption.Optional
            if name in given and given[name].size == 1 and optional:
                found.add(name)
    return found


def _first_output(case: Case) -> Iterator[Case]:
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
