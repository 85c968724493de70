"""Where in torch's module tree a node came from, as each exporter writes it (see `scope_of`)."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from itertools import pairwise

NAME_SCOPES = "pkg.torch.onnx.name_scopes"
LONGEST = 2000  # characters; no network is so deep, and naming looks at every module around a node
RULE_NAME = "pkg.onnxscript.rewriter.rule_name"


def scope_of(op: str, name: str, metadata: dict[str, str], inputs: Sequence[str | None]) -> str:
    """Torch's module path of a node, "" where the file has none.

    * dynamo lists the path in the node's metadata; the last entry is the node itself.
    * dynamo with a BatchNormalization folded into a Conv keeps the BatchNormalization's path;
      the Conv's own is the name of its weight.
    * legacy spells it in the node's name, `/layer_3/layer_3.1/qkv_proj/MatMul`, where a
      container's own segment is repeated as the beginning of the next one.
    """
    if "FuseBatchNormIntoConv" in metadata.get(RULE_NAME, "") and len(inputs) > 1:
        weight = inputs[1] or ""
        if weight.endswith(".weight"):
            return weight.removesuffix(".weight")
    scope = ""
    if NAME_SCOPES in metadata:
        scope = _from_list(metadata[NAME_SCOPES])
    elif name.startswith("/"):
        scope = _from_legacy(name)
    return scope if len(scope) <= LONGEST else ""


def _from_list(text: str) -> str:
    try:
        scopes = ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return ""
    if not isinstance(scopes, list) or len(scopes) < 2 or not isinstance(scopes[-2], str):
        return ""
    return scopes[-2]


def _from_legacy(name: str) -> str:
    segments = name.strip("/").split("/")[:-1]
    repeated = {
        index
        for index, (segment, after) in enumerate(pairwise(segments))
        if after.startswith(segment + ".")
    }
    return ".".join(segment for index, segment in enumerate(segments) if index not in repeated)


def common_prefix(scopes: Sequence[str]) -> str:
    """The module that holds all of these: their longest common beginning in whole segments."""
    if not scopes:
        return ""
    split = [scope.split(".") if scope else [] for scope in scopes]
    first, last = min(split), max(split)
    shared = 0
    while shared < min(len(first), len(last)) and first[shared] == last[shared]:
        shared += 1
    return ".".join(first[:shared])
