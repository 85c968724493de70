"""The page of peers says what its record has, and a peer that fails is a row of it."""

import json
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks import conversion, page, peers, picture, record
from benchmarks.networks import FACTS, NETWORKS
from benchmarks.peers import CONTENDERS, OURS, interpreter
from benchmarks.places import PAGE, PICTURE
from benchmarks.process import run
from benchmarks.runtimes import relative_error
from benchmarks.worker import Worker
from onnx2mvit.benchmarks.machine import Others
from tests.support.graphs import model, save

pytestmark = pytest.mark.xdist_group("peers")

TIMED = {"timed_seconds": {"1": 0.01, "8": 0.08}, "failures": {}, "errors": {"1": 1e-6, "8": 2e-6}}


def network(*rows: dict[str, Any]) -> dict[str, Any]:
    """A record of one network with these rows."""
    known = {"title": "Net", "size": [32, 32], "parameters": 1000, "nodes": 9, "rows": [*rows]}
    kept = record.read()
    return kept | {"networks": {"net": known | {"load": {"1": {"others": 0.02}}}}}


def litert(peer: str, middle: float, **more: Any) -> dict[str, Any]:
    """A row of a LiteRT file that takes so long against onnxruntime."""
    ratios = {batch: [middle, middle - 0.01, middle + 0.01] for batch in ("1", "8")}
    return {"peer": peer, "form": "LiteRT", "size_mb": 1.0, "timed_ratios": ratios} | TIMED | more


def test_page_and_picture_are_those_of_the_record() -> None:
    known = record.read()
    assert PAGE.read_text(encoding="utf-8") == page.text(known)
    assert PICTURE.read_text(encoding="utf-8") == picture.svg(known)


def test_every_row_of_the_record_is_of_a_contender() -> None:
    known = {(each.peer, each.form) for each in CONTENDERS}
    networks = record.read()["networks"]
    assert networks.keys() <= {each.name for each in NETWORKS}
    for each in networks.values():
        assert {(row["peer"], row["form"]) for row in each["rows"]} <= known


def test_where_a_peer_is_ahead_is_said() -> None:
    known = network(litert(OURS, 0.9, cpu_seconds=10.0), litert("other", 0.8, cpu_seconds=5.0))
    assert list(page.ahead(known))[1:-1] == [
        "* **other, LiteRT, batch 1**: Net 0.80 (ours 0.90)",
        "* **other, LiteRT, batch 8**: Net 0.80 (ours 0.90)",
        "* **other, LiteRT, conversion**: Net 5 s (ours 10 s)",
    ]


@pytest.mark.parametrize(
    "more", [{"errors": {"1": 0.5}}, {"timed_ratios": {"1": [0.88, 0.85, 0.9]}}]
)
def test_what_answers_wrongly_or_may_be_as_slow_is_not_ahead(more: dict[str, Any]) -> None:
    known = network(litert(OURS, 0.9), litert("other", 0.8, **more))
    assert list(page.ahead(known)) == ["Nowhere, as far as it was measured.\n"]


def test_a_wrong_answer_and_a_failure_are_said_in_their_row() -> None:
    wrong = litert("other", 0.8, errors={"1": 0.5}, failures={"8": "no such batch"})
    failed = {"peer": "third", "form": "Keras", "code": 1, "error": "ValueError: why"}
    lines = page.text(network(wrong, failed | TIMED | {"timed_ratios": {}})).splitlines()
    (row,) = (line for line in lines if line.startswith("| other"))
    assert "**wrong**, 5e-01" in row
    (row,) = (line for line in lines if line.startswith("| third"))
    assert row.split(" | ")[1] == "fails"
    assert "* other, LiteRT: batch 8: `no such batch`" in lines
    assert "* third, Keras: `ValueError: why`" in lines


@pytest.mark.parametrize(("share", "warned"), [(0.02, False), (0.4, True)])
def test_a_busy_machine_is_warned_of(share: float, warned: bool) -> None:
    known = network(litert(OURS, 0.9))
    known["networks"]["net"]["load"]["1"]["others"] = share
    assert f"{share:.0%} at batch 1" in page.text(known)
    assert ("The machine was busy" in page.text(known)) is warned


def test_the_picture_has_a_mark_for_each_time_and_full_ones_for_ours() -> None:
    known = network(litert(OURS, 0.9), litert("<other>", 100.0))
    root = ElementTree.fromstring(picture.svg(known))
    circles = [each for each in root.iter() if each.tag.endswith("circle")]
    marks = circles[len(picture.COLORS) :]
    assert [each.get("fill") == each.get("stroke") for each in marks] == [True, True, False, False]
    width = float(root.get("viewBox", "").split()[2])
    assert all(picture.LEFT < float(each.get("cx", 0)) <= width for each in marks)


def test_a_process_that_fails_is_told_of_in_one_line(tmp_path: Path) -> None:
    program = "print('much'); raise ValueError('in /some/where/file.onnx')"
    ended = run((sys.executable, "-c", program), tmp_path / "log.txt")
    assert ended.code == 1 and ended.error == "ValueError: in file.onnx"
    assert ended.memory_mb > 1 and ended.seconds >= 0
    late = run((sys.executable, "-c", "import time; time.sleep(60)"), tmp_path / "l.txt", limit=0.5)
    assert late.code and late.error == "more than 0 s"


def test_a_python_is_found_by_its_version() -> None:
    assert interpreter(f"3.{sys.version_info.minor}") == Path(sys.executable)


def test_the_record_is_json_with_versions_and_machine() -> None:
    known = json.loads(json.dumps(record.read()))
    assert {"date", "machine", "versions", "environments", "networks"} <= known.keys()
    assert {"processor", "processors", "memory_gb"} <= known["machine"].keys()


@pytest.fixture(scope="module")
def doubled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network that doubles images, and images with its answers."""
    folder = tmp_path_factory.mktemp("doubled")
    save(model("g (float[N,3,4,4] x) => (float[N,3,4,4] y) { y = Add(x, x) }"), folder, "net.onnx")
    images = np.random.default_rng(0).uniform(size=(2, 3, 4, 4)).astype(np.float32)
    np.savez(
        folder / "images.npz",
        images=images,
        answers=2 * images,
        larger=np.ones((2, 3, 6, 6), np.float32),
        larger_answers=np.full((2, 3, 6, 6), 2, np.float32),
    )
    return folder


def test_a_runtime_is_timed_in_a_process_of_its_own(doubled: Path, tmp_path: Path) -> None:
    arguments = (doubled / "images.npz", tmp_path / "log.txt", 2, 1)
    with Worker("onnxruntime", doubled / "net.onnx", *arguments) as worker:
        assert worker.error == 0 and not worker.failure
        with Others(worker.process.pid) as others:
            seconds = worker.block(1, 3)
        assert worker.larger() is False  # the file is for one size
    assert len(seconds) == 3 and min(seconds) > 0
    assert 0 <= others.share <= 1


def test_what_does_not_run_is_told_of(doubled: Path, tmp_path: Path) -> None:
    arguments = (doubled / "images.npz", tmp_path / "log.txt", 2, 1)
    with Worker("onnxruntime", doubled / "images.npz", *arguments) as worker:
        assert worker.failure.startswith("InvalidModelError: onnxruntime cannot load")


@pytest.mark.parametrize(
    ("answer", "error"), [([[1.0, 4.0]], 0.0), ([[1.0, 2.0]], 0.5), ([[1.0]], 1e9)]
)
def test_an_error_is_a_share_of_the_largest_answer(answer: list[Any], error: float) -> None:
    assert relative_error(np.array(answer), np.array([[1.0, 4.0]])) == error


@pytest.mark.parametrize(
    ("program", "code", "error"),
    [
        ("raise ValueError('no such operator')", 1, "ValueError: no such operator"),
        ("print('done')", 0, "ended with 0 and wrote no file"),
    ],
)
def test_a_peer_that_fails_is_a_row_and_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, code: int, error: str
) -> None:
    for module, name in ((peers, "RESULTS"), (peers, "DRIVERS"), (conversion, "NETWORKS")):
        monkeypatch.setattr(module, name, tmp_path)
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / FACTS).write_text("{}")
    driver = tmp_path / "peer.py"
    driver.write_text(program)
    failing = peers.Contender("peer", "LiteRT", "litert", "net.tflite", driver="peer")
    made = conversion.convert("net", failing)
    assert (made["code"], made["error"]) == (code, error)
    driver.unlink()
    assert conversion.convert("net", failing) == made
