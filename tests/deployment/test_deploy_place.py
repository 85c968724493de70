"""A deployed file is called after what was given, and replaces nothing of another model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import onnx2mvit
from onnx2mvit.errors import UsageError
from tests.support.command_line import Run
from tests.support.graphs import model, save

pytestmark = pytest.mark.xdist_group("deploy-place")

NETWORK = """g (float[N,3,32,32] x) => (float[N,4,32,32] y) {
    c = Conv(x, w, b)  s = Sigmoid(c)  y = Mul(c, s)
}"""


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("converted")
    file = save(model(NETWORK, w=(4, 3, 1, 1), b=(4,)), folder, "net.onnx")
    return onnx2mvit.convert(file, folder, verify=False).folder


@pytest.fixture
def here(converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs of a network of one name, and a model that was trained further from it."""
    for run in ("first", "second"):
        shutil.copytree(converted, tmp_path / run / "net")
    shutil.copy(converted / "net.keras", tmp_path / "tuned.keras")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_name_is_that_of_the_target(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = onnx2mvit.deploy("tuned.keras", format="onnx", inputs=1)
    assert made.file == Path("deployed/tuned_onnx_float32/tuned.onnx")
    monkeypatch.chdir(here / "first" / "net")
    made = onnx2mvit.deploy(".", "out", format="onnx", inputs=1)
    assert made.file == Path("out/net_onnx_float32/net.onnx")


def test_the_same_target_is_deployed_again_from_wherever(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx2mvit.deploy("first/net", format="onnx", inputs=1)
    monkeypatch.chdir(here / "second")
    made = onnx2mvit.deploy("../first/net", "../deployed", format="onnx", inputs=1)
    report = json.loads((made.folder / "deploy.json").read_text(encoding="utf-8"))
    assert report["target"] == "../../first/net"


def test_the_file_is_found_where_it_was_converted(tmp_path: Path) -> None:
    made, away, files = (tmp_path / name for name in ("made", "away", "files"))
    files.mkdir()
    file = save(model(NETWORK, w=(4, 3, 1, 1), b=(4,)), files, "net.onnx")
    target = onnx2mvit.convert(file, made / "deep", verify=False).folder
    assert json.loads((target / "report.json").read_text())["onnx"]["folder"] == "../../../files"
    found = onnx2mvit.deploy(target, tmp_path / "out", format="onnx", inputs=1)
    assert found.report["notes"] == []
    shutil.copytree(made, away / "and" / "farther")  # the file is not where it was, from here
    moved = onnx2mvit.deploy(
        away / "and" / "farther" / "deep" / "net", tmp_path / "moved", format="onnx", inputs=1
    )
    assert any("no ONNX file" in note for note in moved.report["notes"])


def test_another_target_of_that_name_replaces_it_only_by_force(here: Path, run: Run) -> None:
    onnx2mvit.deploy("first/net", format="onnx", inputs=1)
    before = Path("deployed/net_onnx_float32/net.onnx").stat().st_mtime_ns
    ran = run("deploy", "second/net", "--format", "onnx")
    assert ran.code == 2 and "has what was made of ../../first/net" in ran.err
    assert "--force" in ran.err
    assert Path("deployed/net_onnx_float32/net.onnx").stat().st_mtime_ns == before
    assert run("deploy", "second/net", "--format", "onnx", "--force", "--inputs", 1).code == 0
    with pytest.raises(UsageError, match=r"made of \.\./\.\./second/net"):
        onnx2mvit.deploy("first/net", format="onnx")


def test_what_an_older_version_made_is_replaced(here: Path) -> None:
    made = onnx2mvit.deploy("first/net", format="onnx", inputs=1)
    (made.folder / "deploy.json").write_text('{"verdict": "passed"}')
    assert onnx2mvit.deploy("second/net", format="onnx", inputs=1).passed
