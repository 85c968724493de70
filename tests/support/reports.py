"""The form of report.json, as docs/report.schema.json has it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

SCHEMA = Path(__file__).parent.parent.parent / "docs" / "report.schema.json"


@cache
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def assert_in_form(report: dict[str, Any]) -> None:
    """A report, as it is written, is what the schema says."""
    errors = validator().iter_errors(json.loads(json.dumps(report)))
    assert [f"{error.json_path}: {error.message}" for error in errors] == []
