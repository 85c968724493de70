"""Every input of the corpus ends in one line, its exit code, and an output folder as it was."""

from pathlib import Path

import pytest

from tests.support.bad_inputs import Bad, corpus
from tests.support.bad_inputs_table import INTRODUCTION, TARGET, line, run

CORPUS = list(corpus())
PAGE = TARGET.read_text(encoding="utf-8").splitlines() if TARGET.exists() else []


def contents(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize("bad", CORPUS, ids=lambda bad: bad.what)
def test_it_is_refused_in_one_line_and_nothing_is_touched(tmp_path: Path, bad: Bad) -> None:
    older = tmp_path / "out" / "model"
    older.mkdir(parents=True)
    (older / "model.py").write_text("# of an earlier conversion\n")
    (older / "report.json").write_text("{}")
    path = bad.make(tmp_path)
    before = contents(tmp_path / "out")

    ending = run("convert", str(path), "-o", str(tmp_path / "out"), "--name", "model")

    assert ending.code == bad.code, ending
    assert len(ending.said) == 1, ending
    message = ending.said[0]
    assert message.startswith("error: ")
    assert bad.says in message
    assert "Traceback" not in message
    assert len(message.replace(str(tmp_path), "")) < 500
    assert contents(tmp_path / "out") == before
    assert line(bad, ending, tmp_path) in PAGE, "run python -m tests.support.bad_inputs_table"


def test_the_page_has_these_inputs_and_no_others() -> None:
    assert len(CORPUS) >= 40
    rows = PAGE[len(INTRODUCTION.splitlines()) :]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == [b.what for b in CORPUS]


@pytest.mark.parametrize("bad", CORPUS[::9], ids=lambda bad: bad.what)
def test_inspect_says_the_same_where_the_file_cannot_be_read(tmp_path: Path, bad: Bad) -> None:
    path = bad.make(tmp_path)
    ending = run("inspect", str(path))
    if bad.code == 3:
        assert ending == run("convert", str(path), "-o", str(tmp_path / "out"))
    assert not any("Traceback" in line for line in ending.said)
