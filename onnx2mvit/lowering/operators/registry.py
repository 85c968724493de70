"""Which operators have a converter: one entry for each operator and version."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import onnx.defs

if TYPE_CHECKING:
    from onnx2mvit.ir.code import KerasCode
from onnx2mvit.lowering.operators.context import OpContext

Converter = Callable[["OpContext"], "KerasCode"]
REGISTRY: dict[tuple[str, int], Converter] = {}


def operator(name: str, *since: int) -> Callable[[Converter], Converter]:
    """Registers the converter of an operator.

    Args:
        name: ONNX's.
        since: the opsets in which the versions of it came that the converter is for.

    Returns:
        A decorator of the converter.

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


QUANTIZED = frozenset(
    [f"{part}Linear" for part in ("Quantize", "Dequantize", "DynamicQuantize")]
    + ["ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul"]
)


def version_of(name: str, opset: int) -> int | None:
    """The opset in which an operator, `name`, got the meaning that it has in this one.

    None before it came.
    """
    try:
        return int(onnx.defs.get_schema(name, max_inclusive_version=opset).since_version)
    except onnx.defs.SchemaError:
        return None


def converter_for(name: str, opset: int) -> Converter | str:
    """The converter of the operator `name` in an opset, or why there is none.

    What our rules write into files of opsets that have no such operator (Gelu,
    LayerNormalization, and Select, which none has) has its newest meaning.
    """
    versions = [since for known, since in REGISTRY if known == name]
    if name in QUANTIZED:
        return "the file is quantized; convert the float32 model that it was made from"
    if not versions:
        return f"operator {name} is not known"
    version = version_of(name, opset) or max(versions)
    found = REGISTRY.get((name, version))
    return found or f"operator {name} is not known in its version of opset {version}"
