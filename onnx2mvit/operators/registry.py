"""Which operators have a converter: one entry for each operator and version."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import onnx.defs

if TYPE_CHECKING:
    from onnx2mvit.operators.step import Code, Step

Converter = Callable[["Step"], "Code"]
REGISTRY: dict[tuple[str, int], Converter] = {}


def operator(name: str, *since: int) -> Callable[[Converter], Converter]:
    """Registers the converter of an operator for the versions of it that came in these opsets.

    Raises:
        ValueError: one of them has a converter already.
    """

    def register(converter: Converter) -> Converter:
        for version in since:
            if (name, version) in REGISTRY:
                raise ValueError(f"operator {name} of version {version} has two converters")
            REGISTRY[name, version] = converter
        return converter

    return register


def version_of(name: str, opset: int) -> int | None:
    """The opset in which an operator got the meaning that it has in this one.

    Rules write some operators (Gelu, LayerNormalization) into files older than they are; those
    have their newest meaning. None if ONNX has no such operator.
    """
    for newest in (opset, onnx.defs.onnx_opset_version()):
        try:
            return int(onnx.defs.get_schema(name, max_inclusive_version=newest).since_version)
        except onnx.defs.SchemaError:
            continue
    return None


def converter_for(name: str, opset: int) -> Converter | str:
    """The converter of an operator in an opset, or why there is none.

    What our rules alone write (Select) has version 1.
    """
    version = version_of(name, opset) or 1
    found = REGISTRY.get((name, version))
    if found is not None:
        return found
    versions = sorted(since for known, since in REGISTRY if known == name)
    if versions:
        return f"operator {name} is not known in its version of opset {version}"
    return f"operator {name} is not known"
