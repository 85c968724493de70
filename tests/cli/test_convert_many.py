"""Several files in one command: a line for each, and the largest code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command_line import Run
from tests.support.graphs import model, save

NETWORK = """g (float[N,3,32,32] x) => (float[N,4,32,32] y) {
    c = Conv(x, w, b)  s = Sigmoid(c)  y = Mul(c, s)
}"""


def network(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return save(model(NETWORK, w=(4, 3, 1, 1), b=(4,)), folder, name)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network, one in a folder in it, and one that was cut off."""
    monkeypatch.chdir(tmp_path)
    network(tmp_path / "nets", "first.onnx")
    whole = network(tmp_path / "nets" / "more", "second.onnx")
    (whole.parent / "cut.onnx").write_bytes(whole.read_bytes()[:50])
    (whole.parent / "notes.txt").touch()
    return tmp_path


def test_a_folder_and_a_file_are_converted_one_after_the_other(files: Path, run: Run) -> None:
    network(files, "third.onnx")
    (files / "nets" / "more" / "cut.onnx").unlink()
    ran = run("convert", "nets", "third.onnx", "--inputs", 2)
    assert ran.code == 0
    said = [line for line in ran.err.splitlines() if " of 3: " in line]
    assert said == [
        "1 of 3: nets/first.onnx",
        "2 of 3: nets/more/second.onnx",
        "3 of 3: third.onnx",
    ]
    for name in ("first", "second", "third"):
        assert (files / "keras_out" / name / "report.html").is_file()
        assert f"keras_out/{name}/" in ran.out
    assert ran.out.count("passed") == 3 and ran.out.count("3 of 3") == 3


def test_what_fails_stops_no_other_and_the_largest_code_is_the_commands(
    files: Path, run: Run
) -> None:
    ran = run("convert", "nets", "--quiet", "--json", "--no-verify")
    assert ran.code == 3
    rows = {Path(row["target"]).name: row for row in json.loads(ran.out)}
    assert list(rows) == ["first.onnx", "cut.onnx", "second.onnx"]
    assert [row["code"] for row in rows.values()] == [0, 3, 0]
    assert "is not an ONNX model" in rows["cut.onnx"]["why"]
    assert rows["second.onnx"]["report"]["coverage"]["in_blocks"] == 3
    assert ran.err.splitlines()[-1] == "error: 1 of 3 were not converted"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nets", "nowhere.onnx", "neither.onnx"], "nowhere.onnx, neither.onnx: not there"),
        (["nets", "again/first.onnx"], "would both become first: convert them by themselves"),
        (["nets", "--name", "net"], "--name is for one file"),
        (["empty"], "there is no .onnx file in empty"),
    ],
)
def test_what_cannot_be_is_said_before_the_work_begins(
    arguments: list[str], said: str, files: Path, run: Run
) -> None:
    network(files / "again", "first.onnx")
    (files / "empty").mkdir()
    ran = run("convert", *arguments)
    assert ran.code == 2 and said in ran.err and len(ran.err.splitlines()) == 1
    assert not (files / "keras_out").exists()


def test_a_folder_of_one_network_is_that_network(files: Path, run: Run) -> None:
    network(files / "one", "only.onnx")
    ran = run("convert", "one", "--no-verify", "--name", "net")
    assert ran.code == 0 and (files / "keras_out" / "net" / "net.py").is_file()
    assert "1 of" not in ran.err
