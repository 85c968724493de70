"""A report.json that was damaged or edited is refused before anybody goes by it."""

from pathlib import Path

import pytest

from onnx2mvit.base.json_text import json_text
from onnx2mvit.errors import InvalidModelError
from onnx2mvit.reports.read_report import read_report

ONNX = {"file": "a.onnx", "sha256": "ab", "weights": "hub"}
REPORT = {"onnx": ONNX, "sizes": {"traced": [8, 8]}, "blocks": [{"path": "stem"}]}


def written(folder: Path, content: bytes) -> Path:
    (folder / "report.json").write_bytes(content)
    return folder / "report.json"


def test_a_report_is_read(tmp_path: Path) -> None:
    for report in (REPORT, REPORT | {"sizes": {"traced": None}}):  # of images, or of something else
        assert read_report(written(tmp_path, json_text(report).encode())) == report


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"[]", b"{}"])
def test_what_is_no_report_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InvalidModelError, match=r"report\.json cannot be read as a report"):
        read_report(written(tmp_path, content))


@pytest.mark.parametrize(
    "edit",
    [
        {"onnx": None},
        {"onnx": {"file": "a.onnx", "weights": "hub"}},
        {"onnx": {**ONNX, "file": 5}},
        {"onnx": {**ONNX, "weights": None}},
        {"sizes": {"traced": [8]}},
        {"sizes": {"traced": ["8", "8"]}},
        {"sizes": {"traced": [8, -8]}},
        {"blocks": 5},
        {"blocks": [{"path": 5}]},
    ],
    ids=str,
)
def test_an_edited_report_is_refused(tmp_path: Path, edit: dict[str, object]) -> None:
    with pytest.raises(InvalidModelError, match=r"report\.json cannot be read as a report"):
        read_report(written(tmp_path, json_text(REPORT | edit).encode()))


def test_a_folder_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match="is not a file"):
        read_report(tmp_path)
