"""The report.json of an earlier conversion, as far as later commands go by it."""

from __future__ import annotations

import json
import operator
from pathlib import Path
from typing import Any

from onnx2mvit.base.user_files import reading, sha256_of


def read_report(path: Path) -> dict[str, Any]:
    """A report.json that may have been edited, with those parts right that others go by.

    Raises:
        InvalidModelError: it is no report of a conversion, or not any more.
    """
    with reading(path, "a report of a conversion"):
        report = json.loads(path.read_text(encoding="utf-8"))
        onnx, traced = report["onnx"], report["sizes"]["traced"]
        texts = onnx["file"], onnx["sha256"], onnx["weights"], onnx.get("folder", "")
        texts += tuple(block["path"] for block in report["blocks"])
        texts += tuple(onnx.get("outputs", ()))
        if not all(isinstance(each, str) for each in texts):
            raise TypeError("a name in it is no text")
        height, width = (1, 1) if traced is None else traced
        if min(operator.index(height), operator.index(width)) < 1:
            raise ValueError(f"it speaks of images of {height}×{width}")
    return dict(report)


def report_beside(target: Path) -> dict[str, Any]:
    """The report of a converted model, a folder or a .keras file; empty if there is none.

    Raises:
        InvalidModelError: it is no report of a conversion, or not any more.
    """
    report = (target if target.is_dir() else target.parent) / "report.json"
    return read_report(report) if report.exists() else {}


def how_read(target: Path, path: Path) -> dict[str, Any]:
    """How a file was read for a converted model, as far as its report says so.

    Returns:
        Arguments of `stages.inspect`: `outputs` at which it was cut, `merge_branches`, and
        `preprocessing`. None of them where that is another file.
    """
    report = report_beside(target)
    known, pixels = report.get("onnx", {}), report.get("preprocessing") or {}
    given = {
        "outputs": tuple(known.get("outputs", ())),
        "merge_branches": bool(known.get("merged_branches")),
        "preprocessing": pixels if pixels.get("origin") else None,
    }
    if not any(given.values()) or not path.is_file():
        return {}
    return given if sha256_of(path) == known["sha256"] else {}
