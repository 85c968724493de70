"""JSON as we write it, into files and onto terminals."""

from __future__ import annotations

import json
import math
import re
from typing import Any


def json_text(value: Any) -> str:
    """A value as JSON that any reader takes and that no terminal obeys.

    Numbers that JSON does not have become texts ("nan", "inf"); characters that are not printable
    are escaped, which changes nothing for who reads the JSON.
    """
    text = json.dumps(_finite(value), indent=2, ensure_ascii=False) + "\n"
    if text.replace("\n", "").isprintable():
        return text
    return re.sub(r"[^\n -~]", _escaped, text)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _escaped(found: re.Match[str]) -> str:
    return found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1]
