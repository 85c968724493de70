"""An evaluation in several processes: interrupted, killed, and by Ray."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import onnx2mvit
from tests.evaluation.test_evaluate import figures

pytestmark = pytest.mark.xdist_group("evaluate")


def test_what_was_interrupted_goes_on_where_it_was(
    network: Path, photos: Path, tmp_path: Path
) -> None:
    """In processes, too: the answers are those of one run in this one."""
    told: list[tuple[str, int]] = []

    def interrupt(stage: str, done: int, total: int) -> None:
        told.append((stage, done))
        if stage == "evaluate" and done == 8:
            raise KeyboardInterrupt

    def go(**options: Any) -> dict[str, Any]:
        return onnx2mvit.evaluate([network], photos, batch=4, **options).report

    once = go(output=tmp_path / "once", workers=0)
    for _ in range(2):  # the second time it has those 8 and is interrupted before any other
        with pytest.raises(KeyboardInterrupt):
            go(output=tmp_path, workers=2, progress=interrupt)
    part = tmp_path / "evaluation.part"
    part.write_bytes(part.read_bytes() + b'{"start": 8, "na')  # killed while it wrote
    told.clear()
    again = go(output=tmp_path, workers=1, progress=lambda *each: told.append(each[:2]))
    assert figures(again) == figures(once)
    assert [done for stage, done in told if stage == "evaluate"] == [8, 12, 16, 20, 24]
    assert not part.exists()
    # Of another evaluation it is no part.
    with pytest.raises(KeyboardInterrupt):
        go(output=tmp_path, workers=0, progress=interrupt)
    told.clear()
    go(output=tmp_path, workers=0, limit=16, progress=lambda *each: told.append(each[:2]))
    assert ("evaluate", 0) in told


def test_a_killed_evaluation_leaves_no_process_behind(
    network: Path, photos: Path, tmp_path: Path
) -> None:
    """What reads images ends with what began it."""
    table = tmp_path / "many.csv"
    table.write_text("4_red/0.jpg,4\n" * 200_000)
    command = [sys.executable, "-m", "onnx2mvit", "evaluate", network, "--data", photos]
    options = ["--labels", table, "--workers", "1", "-o", tmp_path, "-q"]
    started = subprocess.Popen([*map(str, [*command, *options])], start_new_session=True)
    part = tmp_path / "evaluation.part"
    while not part.exists() or part.read_text().count("\n") < 2:
        assert started.poll() is None
        time.sleep(0.05)
    started.send_signal(signal.SIGKILL)
    started.wait()
    with pytest.raises(ProcessLookupError):
        for _ in range(1000):
            os.killpg(started.pid, 0)
            time.sleep(0.05)


@pytest.mark.slow
def test_a_local_ray_of_two_workers_gives_the_same_answers(
    network: Path, converted: Path, photos: Path, tmp_path: Path
) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'onnx2mvit[ray]'")
    (photos / "4_red" / "text.png").write_text("no picture")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        local, others = (
            onnx2mvit.evaluate(
                [network, converted],
                photos,
                batch=4,
                engine=engine,
                workers=2 * (engine == "ray"),
                output=tmp_path / engine,
            ).report
            for engine in ("local", "ray")
        )
    finally:
        ray.shutdown()
    assert figures(local) == figures(others)
    assert others["damaged"]["count"] == 1
