"""ONNX's own backend tests as cases for our converters.

The wheel of onnx has a test for every way to use an operator: a model of one node (or of the
nodes of a function's body, `…_expanded`), with inputs and the outputs that are expected. Each is
brought to an opset that we read, and to float32.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.backend.test
from onnx import helper, numpy_helper
from onnx.defs import OpSchema

from tests.support.node_cases import Array, Case, first_output
from tests.support.node_opsets import at_a_known_opset, copied, opset_of, schema_of
from tests.support.run_graph import answers

DATA = Path(onnx.backend.test.__file__).parent / "data"
FOLDERS = ("pytorch-operator", "pytorch-converted", "simple")  # models as files, of old opsets


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
    proven: set[str] = set()
    others: list[Case] = []
    for test in collected:
        assert test.model is not None and test.data_sets is not None
        # The body of a function comes after the function.
        operator = test.model.graph.node[0].op_type
        operator = operators.setdefault(test.name.partition("_expanded")[0], operator)
        tensors = [[_as_array(each) for each in some] for some in test.data_sets[0]]
        made = _float_case(test.name, operator, test.model, *tensors)
        if made is not None:
            proven.add(operator)
            yield made
            yield from first_output(made)
        elif (made := _number_case(test.name, operator, test.model, *tensors)) is not None:
            others.append(made)
    yield from (case for case in others if case.operator not in proven and _is_right(case))


def _as_array(given: Any) -> Any:
    return np.asarray(given) if isinstance(given, np.generic) else given


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


def _number_case(
    name: str, operator: str, model: onnx.ModelProto, inputs: Sequence[Any], outputs: Sequence[Any]
) -> Case | None:
    """A case of integers with floats in their place, if the operator takes both alike."""
    known = at_a_known_opset(model)
    if known is None or len(known.graph.node) > 1:
        return None
    (node,) = known.graph.node
    schema = schema_of(node, opset_of(known))
    kind = schema.inputs[0].type_str if schema.inputs else ""
    allowed = {each.type_param_str: each.allowed_type_strs for each in schema.type_constraints}
    if "tensor(float)" not in allowed.get(kind, ()):
        return None
    formal = [*zip(node.input, schema.inputs, strict=False)]
    formal += [*zip(node.output, schema.outputs, strict=False)]
    alike = {name for name, each in formal if each.type_str == kind}
    known, made = copied(known), []
    for value, array in zip(
        (*known.graph.input, *known.graph.output), (*inputs, *outputs), strict=True
    ):
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biu":
            return None
        if value.name in alike:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
            array = array.astype(np.float32)
        made.append(array)
    return _float_case(name, operator, known, made[: len(inputs)], made[len(inputs) :])


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
