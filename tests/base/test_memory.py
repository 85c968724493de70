"""Memory goes back to the system, and a conversion is bounded by the weights of its file."""

import mmap
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnx2mvit.base.memory import kept_in_file, let_go, peak
from tests.support.graphs import model

MIB = 1 << 20

TOUCHED = """
import mmap, re, sys
import numpy as np
from onnx2mvit.base.memory import let_go, peak
with open(sys.argv[1], "rb") as file:
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
array = np.frombuffer(mapped, np.float32)[1:].reshape(1, -1)
def resident():
    return int(re.search(r"RssFile:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
before = resident()
array.sum()
touched = resident()
let_go([array.T])
print(touched - before, resident() - before)
"""

ALLOCATED = """
import re, sys
import numpy as np
from onnx2mvit.base.memory import give_back_at_once
def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
give_back_at_once()
before, kept = resident(), []
for _ in range(40):  # each between two that stay
    large, small = np.ones(1 << 20, np.uint8), np.ones(1 << 14, np.uint8)
    kept.append((large, small))
full = resident()
kept = [small for _, small in kept]
del large
print(full - before, resident() - before)
"""


LIBRARIES = """
import re, onnxruntime
from onnx2mvit.base.libraries import let_go_of_libraries
def resident():
    return int(re.search(r"RssFile:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
before = resident()
let_go_of_libraries()
after = resident()
import zlib, numpy, onnx
onnxruntime.SessionOptions(), onnx.helper.make_graph([], "g", [], []), zlib.crc32(b"x")
assert numpy.linalg.inv(numpy.eye(3)).trace() == 3
print(before, after)
"""


def measured(code: str, *arguments: Path) -> tuple[int, int]:
    """What a process of its own prints: KiB that it takes, and that are left of them."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    taken, left = map(int, printed.split())
    return taken, left


@pytest.mark.skipif(sys.platform != "linux", reason="what is resident is read from /proc")
def test_pages_of_a_file_go_back(tmp_path: Path) -> None:
    np.zeros(16 * MIB, np.float32).tofile(tmp_path / "weights")
    taken, left = measured(TOUCHED, tmp_path / "weights")
    assert taken > 60 * 1024
    assert left < 4 * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="what is resident is read from /proc")
def test_what_was_read_to_load_libraries_goes_back_and_they_run_on() -> None:
    before, after = measured(LIBRARIES)
    assert after < before / 2


def test_arrays_are_kept_in_a_file_that_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    given: dict[str, np.ndarray[Any, Any]] = {
        "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "empty": np.zeros((0, 3)),
        "number": np.array(7),
        "mask": np.array([True, False]),
    }
    kept = kept_in_file(given)
    assert kept.keys() == given.keys()
    for name, array in given.items():
        assert not kept[name].flags.writeable
        assert kept[name].dtype == array.dtype and np.array_equal(kept[name], array)
    let_go(kept.values())
    assert np.array_equal(kept["turned"], given["turned"])
    assert not list(tmp_path.iterdir())


def test_arrays_stay_in_memory_where_no_file_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    given = {"one": np.ones(3)}
    assert kept_in_file(given)["one"] is given["one"]


@pytest.mark.skipif(sys.platform != "linux", reason="what is resident is read from /proc")
def test_large_arrays_go_back_from_between_others() -> None:
    taken, left = measured(ALLOCATED)
    assert taken > 38 * 1024
    assert left < 6 * 1024


def test_what_is_let_go_is_there_when_it_is_asked_for(tmp_path: Path) -> None:
    right = np.arange(5000, dtype=np.float32)
    right.tofile(tmp_path / "weights")
    with (tmp_path / "weights").open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    array, own = np.frombuffer(mapped, np.float32), right.copy()
    let_go([array, array.reshape(50, 100).T, own, np.frombuffer(right.tobytes(), np.float32)])
    assert np.array_equal(array, right)
    assert np.array_equal(own, right)


def test_the_peak_is_this_process_own() -> None:
    """Linux counts what the process had that began another into `ru_maxrss` of that."""
    large = np.ones(300 << 17)  # 300 MiB
    told = "from onnx2mvit.base.memory import peak; print(peak())"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < large.nbytes < (peak() or 0)


LAYERS, WIDTH, TOKENS = 12, 2048, 4
# Keras has the weights once, when onnxruntime is done; TensorFlow with its libraries is the rest.
MOST = 3.0

PEAK = """
import sys
sys.argv[0] = "onnx2mvit"
try:
    from onnx2mvit.__main__ import command
    command()
except SystemExit as end:
    assert not end.code, end.code
from onnx2mvit.base.memory import peak
print(peak())
"""


def large_file(folder: Path) -> tuple[Path, int]:
    """Residual linear layers with external data, and how many bytes their weights have."""
    nodes, x = [], "x"
    weights: dict[str, Any] = {}
    rng = np.random.default_rng(0)
    for n in range(LAYERS):
        up, down = rng.standard_normal((2, WIDTH * 4 * WIDTH), np.float32) / WIDTH**0.5
        weights |= {f"u{n}": up.reshape(WIDTH, -1), f"d{n}": down.reshape(-1, WIDTH) / 8}
        nodes.append(f"a{n} = MatMul({x}, u{n}) b{n} = Tanh(a{n}) c{n} = MatMul(b{n}, d{n})")
        nodes.append(f"x{n} = Add({x}, c{n})")
        x = f"x{n}"
    shape = f"float[N,{TOKENS},{WIDTH}]"
    made = model(f"g ({shape} x) => ({shape} y) {{ {' '.join(nodes)} y = Relu({x}) }}", **weights)
    path = folder / "large.onnx"
    onnx.save(made, path, save_as_external_data=True, location="large.data")
    return path, sum(array.nbytes for array in weights.values())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_a_large_file_converts_within_a_multiple_of_its_weights(tmp_path: Path) -> None:
    """With the proof, in the process of the command: nothing has the weights but who needs them."""
    path, size = large_file(tmp_path)
    command = [sys.executable, "-c", PEAK, "convert", str(path), "-o", str(tmp_path), "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    most = int(done.stdout.split()[-1])
    assert most < MOST * size, f"{most / size:.2f} times its weights"
