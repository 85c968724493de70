"""No rights, a full disk, a kill in the middle, two at once: one line, and what was there stays."""

import json
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors

import onnx2mvit
from onnx2mvit.base.output import whole_folder
from onnx2mvit.builder.build import build
from tests.support import surroundings
from tests.support.graphs import model, save
from tests.support.surroundings import can_mount, command, in_read_only, on_small_disk

MOUNTS = can_mount()
NO_MOUNT = "this user may mount nothing: run as root, or with user namespaces"
CONV = "g (float[N,8,16,16] image) => (float[N,8,16,16] y) { c = Conv(image, w)  y = Relu(c) }"


def network(folder: Path, name: str = "net.onnx", filters: int = 64, seed: int = 0) -> Path:
    folder.chmod(0o755)
    return save(model(CONV, w=(filters, 8, 1, 1), seed=seed), folder, name)


def older(folder: Path) -> Path:
    """The output of a conversion before."""
    target = folder / "net"
    target.mkdir(parents=True)
    (target / "net.py").write_text("# older\n")
    (target / "report.json").write_text("{}")
    return target


def assert_older(target: Path) -> None:
    assert sorted(path.name for path in target.parent.iterdir()) == ["net"]
    assert sorted(path.name for path in target.iterdir()) == ["net.py", "report.json"]
    assert (target / "net.py").read_text() == "# older\n"


def said(stderr: str) -> str:
    """The one line that is no progress."""
    assert "Traceback" not in stderr
    (message,) = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert stderr.rstrip().endswith(message)
    return message


def open_to_all(folder: Path) -> None:
    """Pytest's folders are for their owner alone; nobody has to get to them."""
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == os.getuid() and parent != Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o055)


@pytest.mark.parametrize("closed", ["net.onnx", "."], ids=["the file", "its folder"])
def test_a_file_that_may_not_be_read(tmp_path: Path, closed: str) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    path = network(folder)
    open_to_all(folder)
    (folder / closed).chmod(0)
    done = surroundings.run(command("convert", path, "-o", tmp_path / "out", nobody=True))
    assert done.returncode == 3
    assert "net.onnx may not be read: permission denied" in said(done.stderr)


def test_an_output_folder_that_may_not_be_written(tmp_path: Path) -> None:
    path, target = network(tmp_path), older(tmp_path / "out")
    open_to_all(tmp_path)
    target.parent.chmod(0o555)
    done = surroundings.run(command("convert", path, "-o", tmp_path / "out", nobody=True))
    target.parent.chmod(0o755)
    assert done.returncode == 1
    assert "cannot be written: Permission denied. What was there is untouched." in said(done.stderr)
    assert_older(target)


@pytest.mark.skipif(not MOUNTS, reason=NO_MOUNT)
@pytest.mark.parametrize(
    "kilobytes",
    [pytest.param(8, marks=pytest.mark.slow), 28],
    ids=["at the weights", "at the Keras file"],
)
def test_a_full_disk(tmp_path: Path, kilobytes: int) -> None:
    path, disk = network(tmp_path, filters=256), tmp_path / "disk"
    disk.mkdir()
    convert = command("convert", path, "-o", disk, "--no-verify")
    done = surroundings.run(on_small_disk(convert, disk, kilobytes, 'ls -A "$0"'))
    assert done.returncode == 1, done
    assert "cannot be written: No space left on device." in said(done.stderr)
    assert done.stdout == ""  # `ls`: the folder is as empty as it was


def test_a_disk_that_is_full_for_one_file_as_a_quota_has_it(tmp_path: Path) -> None:
    """Needs no rights: the process may write no file of more than 4 kB."""
    path, target = network(tmp_path, filters=256), older(tmp_path / "out")
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))"
    done = surroundings.run(command("convert", path, "-o", tmp_path / "out", before=limit))
    assert done.returncode == 1
    assert "cannot be written: File too large." in said(done.stderr)
    assert_older(target)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_a_kill_in_the_middle_of_writing(tmp_path: Path, sent: signal.Signals) -> None:
    path, target = network(tmp_path), older(tmp_path / "out")
    kill = f"""
save = conversion.save_weights
def killed(*arguments):
    save(*arguments)
    os.kill(os.getpid(), {int(sent)})
conversion.save_weights = killed"""
    done = surroundings.run(command("convert", path, "-o", tmp_path / "out", before=kill))
    assert done.returncode == -sent
    (left,) = [path for path in target.parent.iterdir() if path != target]
    assert left.name.startswith(".onnx2mvit-")
    os.utime(left, (0, 0))
    with whole_folder(tmp_path / "out" / "net") as work:
        (work / "net.py").write_text("# older\n")
        (work / "report.json").write_text("{}")
    assert_older(target)  # what the killed one left is gone


# Shows that the working directory really cannot be written.
SIGN = """
try:
    open("sign", "w")
except OSError as error:
    print(error, file=sys.stderr, flush=True)"""


@pytest.mark.skipif(not MOUNTS, reason=NO_MOUNT)
def test_a_working_directory_that_may_not_be_written(tmp_path: Path) -> None:
    here, out = tmp_path / "here", tmp_path / "out"
    here.mkdir()
    network(here)
    convert = command("convert", "net.onnx", "-o", out, before=SIGN)
    done = surroundings.run(in_read_only(convert, here))
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("[Errno 30] Read-only file system")
    assert (out / "net" / "report.json").exists()
    assert [path.name for path in here.iterdir()] == ["net.onnx"]


@pytest.mark.slow
@pytest.mark.skipif(not MOUNTS, reason=NO_MOUNT)
def test_an_old_repro_that_may_not_be_removed(tmp_path: Path) -> None:
    path = network(tmp_path)
    folder = onnx2mvit.convert(path, tmp_path, name="net", verify=False).folder
    right = (folder / "net.py").read_text()
    (folder / "net.py").write_text(right.replace('"relu"', '"tanh"'))
    assert not onnx2mvit.verify(path, folder, inputs=1).passed
    (folder / "net.py").write_text(right)
    verify = command("verify", path, folder, "--inputs", 1)
    done = surroundings.run(in_read_only(verify, folder))
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "mismatch" in line]
    assert line.endswith("mismatch is out of date and cannot be removed: Read-only file system")
    assert (folder / "mismatch" / "repro.py").is_file()


def test_two_conversions_into_one_folder_at_once_each_in_a_thread(tmp_path: Path) -> None:
    paths = [network(tmp_path, f"{seed}.onnx", 8 + seed, seed) for seed in range(2)]
    results: dict[int, onnx2mvit.Conversion] = {}
    start = threading.Barrier(2)

    def work(number: int) -> None:
        start.wait()
        results[number] = onnx2mvit.convert(paths[number], tmp_path / "out", name="net")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [results[number].passed for number in range(2)] == [True, True]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["net"]
    there = build(tmp_path / "out" / "net")  # source and weights are of one conversion
    (winner,) = {8 + n for n in range(2)} & {there.output_shape[-1]}
    image = np.ones((1, 16, 16, 8), np.float32)
    expected = results[winner - 8].model(image)
    np.testing.assert_array_equal(there(image), expected)


# Each says that it is about to take the place of the folder, and waits for the other.
MEET = """
import pathlib, time
take_place = output.take_place
def met(work, target):
    here = pathlib.Path({folder!r})
    (here / str(os.getpid())).touch()
    while len(list(here.iterdir())) < 2:
        time.sleep(0.001)
    take_place(work, target)
output.take_place = met"""


@pytest.mark.parametrize(
    "met",
    [
        pytest.param(False, id="as they come", marks=pytest.mark.slow),
        pytest.param(True, id="meeting at the swap"),
    ],
)
def test_two_conversions_into_one_folder_at_once_each_in_a_process(
    tmp_path: Path, met: bool
) -> None:
    out, meeting = tmp_path / "out", tmp_path / "meeting"
    meeting.mkdir()
    paths = [network(tmp_path, f"{seed}.onnx", 8 + seed, seed) for seed in range(2)]

    def conversion(path: Path) -> list[str]:
        arguments = ["convert", str(path), "-o", str(out), "--name", "net"]
        if met:
            return command(*arguments, before=MEET.format(folder=str(meeting)))
        return [sys.executable, "-m", "onnx2mvit", *arguments]

    with ThreadPoolExecutor() as threads:
        ended = list(threads.map(surroundings.run, map(conversion, paths)))
    assert [done.returncode for done in ended] == [0, 0], ended
    assert len(list(meeting.iterdir())) == 2 * met
    assert [path.name for path in out.iterdir()] == ["net"]
    alone = onnx2mvit.convert(paths[0], tmp_path / "alone", name="net").folder
    assert file_names(out / "net") == file_names(alone)
    # Report, weights, module and Keras file are of one and the same conversion.
    report = json.loads((out / "net" / "report.json").read_text())
    winner = Path(report["onnx"]["file"])
    with safetensors.safe_open(out / "net" / "net.safetensors", "numpy") as weights:
        assert weights.metadata()["source"] == winner.name
    for there in (out / "net", out / "net" / "net.keras"):
        assert onnx2mvit.verify(tmp_path / winner.name, there, inputs=1).passed


def file_names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_is_in_memory_is_never_written_over_what_was_read(tmp_path: Path) -> None:
    """The file itself is opened for reading alone."""
    path = network(tmp_path)
    before = path.read_bytes(), path.stat().st_mtime_ns
    onnx2mvit.inspect(path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    onnx.checker.check_model(str(path))
