"""The registry of single operators: keyed by operator and version, and complete."""

import onnx.defs
import pytest

from onnx2mvit.ir.code import KerasCode
from onnx2mvit.lowering.operators import (
    REGISTRY,
    OpContext,
    converter_for,
    operator,
    version_of,
)
from onnx2mvit.reader.file import OPSETS
from tests.support.operators_table import OURS, claimed


def convert(op: OpContext) -> KerasCode:
    raise NotImplementedError


def convert_otherwise(op: OpContext) -> KerasCode:
    raise NotImplementedError


def test_two_converters_of_one_version_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnx2mvit.lowering.operators.registry.REGISTRY", {})
    operator("Relu", 6, 13)(convert)
    operator("Relu", 14)(convert)
    with pytest.raises(ValueError, match="operator Relu of version 13 has two converters"):
        operator("Relu", 13)(convert)
    with pytest.raises(ValueError, match="operator Elu of version 6 has two converters"):
        operator("Elu", 6, 6)(convert)


@pytest.mark.parametrize("name", sorted(claimed()))
def test_what_is_registered_is_a_version_of_onnx(name: str) -> None:
    known = {
        schema.since_version
        for schema in onnx.defs.get_all_schemas_with_history()
        if schema.name == name and schema.domain == ""
    }
    versions = {since for registered, since in REGISTRY if registered == name}
    assert versions <= known
    # None that only opsets have which are not read: nothing could prove it.
    assert all(since <= OPSETS[-1] for since in versions)
    assert all(any(version_of(name, opset) == since for opset in OPSETS) for since in versions)


@pytest.mark.parametrize("name", sorted(claimed()))
def test_an_operator_has_a_converter_in_every_opset_that_has_it(name: str) -> None:
    for opset in OPSETS:
        found = converter_for(name, opset)
        assert not isinstance(found, str), f"opset {opset}: {found}"


def test_an_operator_has_its_newest_meaning_in_files_that_are_older_than_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Rules write HardSwish, which came in opset 14 and changed in 22, into any file.
    registry = {("HardSwish", 14): convert, ("HardSwish", 22): convert_otherwise}
    monkeypatch.setattr("onnx2mvit.lowering.operators.registry.REGISTRY", registry)
    assert [version_of("HardSwish", opset) for opset in (13, 14, 21, 22)] == [None, 14, 14, 22]
    found = [converter_for("HardSwish", opset) for opset in (11, 13, 14, 21, 22, 25)]
    assert found == [convert_otherwise] * 2 + [convert] * 2 + [convert_otherwise] * 2


def test_what_is_not_known_is_said() -> None:
    assert converter_for("NoSuchOperator", 20) == "operator NoSuchOperator is not known"
    assert version_of("NoSuchOperator", 20) is None
    for name in OURS:
        assert not isinstance(converter_for(name, 20), str)


def test_a_version_that_is_not_known_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnx2mvit.lowering.operators.registry.REGISTRY", {("Relu", 13): convert})
    assert converter_for("Relu", 13) is convert
    message = "operator Relu is not known in its version of opset 14"
    assert converter_for("Relu", 20) == message
