"""The runs of our benchmarks are kept with the day and the machine, and a page shows them."""

from datetime import date
from pathlib import Path

import pytest

from benchmarks import history
from onnx2mvit.runtimes.timing import Ratio

KEPT = sorted(history.FOLDER.glob("*.json"))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_every_run_says_when_and_on_what(path: Path) -> None:
    runs = history.runs(path)
    days = [date.fromisoformat(run["date"]) for run in runs]
    assert days and days == sorted(days)
    for run in runs:
        assert {"processor", "processors", "memory_gb", "system"} <= run["machine"].keys()
        assert run["versions"] and run["of"]
        assert run["others"] is None or 0 <= run["others"] <= 1
        for each in run["figures"]:
            assert each["value"] > 0 and each["unit"] in ("s", "ms")
            middle, least, greatest = each["ratio"] or (1, 1, 1)
            assert least <= middle <= greatest


def test_the_page_shows_every_figure() -> None:
    page = history.page()
    for path in KEPT:
        assert f"## {path.stem}\n" in page
        for run in history.runs(path):
            for each in run["figures"]:
                assert f"| {each['what']} | {each['value']:.4g} {each['unit']} |" in page


def test_a_run_is_added_to_those_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "FOLDER", tmp_path)
    first = history.figure("torch", 0.5, "ms", None)
    second = history.figure("Keras", 0.25, "ms", Ratio(0.5, 0.4, 0.6))
    path = history.keep("training", "net", [first], 0.0)
    assert history.keep("training", "net", [first, second], 0.02) == path
    old, new = history.runs(path)
    assert len(old["figures"]) == 1
    assert new["figures"][1] == {
        "what": "Keras",
        "value": 250.0,
        "unit": "ms",
        "ratio": [0.5, 0.4, 0.6],
    }
    assert "| Keras | 250 ms | 0.50 (0.40–0.60) |" in history.page()
