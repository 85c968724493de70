"""What the machine does beside what is timed is seen."""

import subprocess
import sys
import time

import pytest

from onnx2mvit.benchmarks.machine import Others


def test_another_process_that_computes_is_seen() -> None:
    pytest.importorskip("psutil")
    busy = "print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", busy], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            with Others() as others:
                time.sleep(1)
        finally:
            process.kill()
    assert others.share > 0.02


def test_what_we_compute_ourselves_is_not_counted_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("psutil")
    # Busy, ours and the clock, before and after; a machine of two processors.
    readings = iter([(100.0, 10.0, 0.0), (112.0, 15.0, 10.0)])
    monkeypatch.setattr(Others, "_now", staticmethod(lambda: next(readings)))
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    with Others() as others:
        pass
    assert others.share == pytest.approx((12 - 5) / 20)


def test_memory_that_we_take_is_seen() -> None:
    pytest.importorskip("psutil")
    # In a process of its own: in this one, threads of TensorFlow give memory back meanwhile.
    code = (
        "from onnx2mvit.benchmarks.machine import memory, peak_memory\n"
        "before = memory()\n"
        "block = b'x' * 50_000_000\n"
        "print(memory() - before, peak_memory() - memory())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    taken, below_the_peak = map(int, done.stdout.split())
    assert taken > 40_000_000
    assert below_the_peak >= 0
