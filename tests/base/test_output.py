"""Output folders appear whole or not at all."""

import errno
import os
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx2mvit.base import output
from onnx2mvit.base.atomic_swap import exchange, hold
from onnx2mvit.base.output import MARK, temporary_folder, whole_folder, write_file
from onnx2mvit.builder.weights import save_weights
from onnx2mvit.errors import Onnx2mvitError, UsageError


@pytest.fixture
def umask() -> Iterator[int]:
    """A usual umask, whatever the machine has."""
    before = os.umask(0o022)
    yield 0o022
    os.umask(before)


def write(target: Path, text: str) -> None:
    with whole_folder(target) as work:
        (work / "file").write_text(text)
        (work / MARK).touch()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "deep" / "target"
    with whole_folder(target) as work:
        (work / "one").write_text("1")
        assert not target.exists()
        (work / "two").write_text("2")
    assert names(target) == ["one", "two"]
    assert names(target.parent) == ["target"]


def test_a_second_run_replaces_the_first_and_what_a_user_put_there_stays(tmp_path: Path) -> None:
    target = tmp_path / "target"
    write(target, "first")
    (target / "notes.txt").write_text("mine")
    (target / "notes.txt").chmod(0o600)
    (target / "runs" / "1").mkdir(parents=True)
    (target / "runs" / "1" / "tuned.keras").write_text("mine, too")
    (target / "data").symlink_to("/nowhere")
    (target / "optional").touch()
    with whole_folder(target, older=["optional"]) as work:
        (work / "file").write_text("second")
        (work / MARK).touch()
    assert (target / "file").read_text() == "second"
    assert names(target) == ["data", "file", "notes.txt", MARK, "runs"]
    assert (target / "runs" / "1" / "tuned.keras").read_text() == "mine, too"
    assert (target / "data").is_symlink()
    assert stat.S_IMODE((target / "notes.txt").stat().st_mode) == 0o600
    assert names(tmp_path) == ["target"]


@pytest.mark.parametrize("there", [True, False])
def test_a_target_that_is_a_link_stays_one_and_what_it_points_to_is_written(
    tmp_path: Path, there: bool
) -> None:
    folder = tmp_path / "disk" / "folder"
    if there:
        write(folder, "old")
    (tmp_path / "target").symlink_to(folder)
    write(tmp_path / "target", "new")
    assert (tmp_path / "target").is_symlink()
    assert not folder.is_symlink() and (folder / "file").read_text() == "new"
    (tmp_path / "link.json").symlink_to(folder / "file.json")
    write_file(tmp_path / "link.json", b"{}")
    assert (tmp_path / "link.json").is_symlink() and (folder / "file.json").read_bytes() == b"{}"
    assert names(folder) == ["file", "file.json", MARK]
    (tmp_path / "elsewhere").symlink_to(tmp_path / "disk" / "later")
    write(tmp_path / "elsewhere" / "target", "new")  # a link on the way, to where nothing is yet
    assert names(tmp_path / "disk" / "later") == ["target"]


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    file, folder = tmp_path / "deep" / "file", tmp_path / "folder"
    write_file(file, b"old")
    write_file(file, b"new")
    assert file.read_bytes() == b"new" and names(file.parent) == ["file"]
    write_file(Path("/dev/null"), b"written to, and still there")
    assert Path("/dev/null").is_char_device()
    folder.mkdir()
    for place in (folder, file / "below", Path("/dev/full"), Path("/proc/nowhere/file")):
        with pytest.raises(Onnx2mvitError, match=f"^{place} cannot be written: [A-Z]"):
            write_file(place, b"content")


def test_a_folder_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "src"
    target.mkdir()
    (target / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match="something else"):
        write(target, "ours")
    assert names(target) == ["thesis.tex"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, Onnx2mvitError])
def test_what_goes_wrong_inside_leaves_the_old_folder(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "target"
    write(target, "old")
    with pytest.raises(error), whole_folder(target) as work:
        (work / "file").write_text("new")
        raise error("broken")
    assert (target / "file").read_text() == "old"
    assert names(tmp_path) == ["target"]


def test_what_goes_wrong_inside_leaves_nothing_where_nothing_was(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="broken"), whole_folder(tmp_path / "target") as work:
        (work / "file").write_text("new")
        raise ValueError("broken")
    assert names(tmp_path) == []


def test_a_full_disk_is_an_error_for_the_user(tmp_path: Path) -> None:
    target = tmp_path / "target"
    write(target, "old")
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full here")
    with pytest.raises(Onnx2mvitError) as caught, whole_folder(target):
        full.write_text("more than fits")
    assert str(target) in str(caught.value)
    assert os.strerror(errno.ENOSPC) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (target / "file").read_text() == "old"
    assert names(tmp_path) == ["target"]


def test_a_place_that_may_not_be_written_is_an_error_for_the_user() -> None:
    place = Path("/proc/onnx2mvit/target")
    with pytest.raises(Onnx2mvitError, match=str(place)), whole_folder(place):
        pytest.fail("it was opened all the same")


def test_a_parent_that_is_a_file_is_an_error_for_the_user(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    target = tmp_path / "file" / "target"
    with pytest.raises(Onnx2mvitError, match=str(target)), whole_folder(target):
        pytest.fail("it was opened all the same")


def test_a_file_in_the_place_of_the_folder_is_not_touched(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    with pytest.raises(Onnx2mvitError, match="it is a file"), whole_folder(target):
        pytest.fail("it was opened all the same")
    assert target.read_text() == "mine"
    assert names(tmp_path) == ["target"]


def test_a_failed_exchange_brings_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    write(target, "old")
    rename = Path.rename

    def failing(path: Path, to: Any) -> Path:
        if Path(to) == target and (path / "file").read_text() == "new":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", failing)
    monkeypatch.setattr(output, "exchange", lambda one, other: False)
    with pytest.raises(Onnx2mvitError, match=str(target)):
        write(target, "new")
    assert (target / "file").read_text() == "old"
    assert names(tmp_path) == ["target"]


def test_a_folder_may_be_given_relative_to_where_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("target"), "new")
    assert names(tmp_path) == ["target"]


def test_files_and_folders_have_the_permissions_that_any_program_gives(
    tmp_path: Path, umask: int
) -> None:
    target = tmp_path / "target"
    with whole_folder(target) as work:
        (work / "inner").mkdir()
        (work / "inner" / "text").write_text("text")
        save_weights({"w": np.ones(3, np.float32)}, work / "weights.safetensors", {})
    for path in (target / "inner" / "text", target / "weights.safetensors"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    for path in (target, target / "inner"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o777 & ~umask


def test_a_private_umask_is_kept(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write(tmp_path / "target", "secret")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "target" / "file").stat().st_mode) == 0o600


@pytest.mark.parametrize("at_once", [True, False], ids=["exchanged", "in two steps"])
def test_two_that_write_at_once_both_succeed_and_one_is_there_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    if not at_once:
        monkeypatch.setattr(output, "exchange", lambda one, other: False)
    target = tmp_path / "target"

    def work(name: str) -> None:
        for _ in range(100):
            with whole_folder(target) as folder:
                (folder / "a").write_text(name)
                (folder / MARK).touch()
                (folder / "b").write_text(name)

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(work, name) for name in ("one", "two", "three")]:
            done.result()
    assert names(target) == ["a", "b", MARK]
    assert (target / "a").read_text() == (target / "b").read_text()
    assert names(tmp_path) == ["target"]


def test_the_old_folder_goes_though_another_takes_the_new_one_away_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "exchange", lambda one, other: False)
    target, rename = tmp_path / "target", Path.rename
    write(target, "0")

    def taken(path: Path, place: Path) -> Path:
        made = rename(path, place)
        return rename(made, tmp_path / "another's") if place == target else made

    monkeypatch.setattr(Path, "rename", taken)
    write(target, "1")
    assert names(tmp_path) == ["another's"]


def test_there_is_never_a_moment_without_the_folder(tmp_path: Path) -> None:
    target = tmp_path / "target"
    write(target, "0")
    if not exchange(tmp_path / "target", target):
        pytest.skip("this system cannot exchange two folders")
    stop, missing = threading.Event(), list[int]()

    def watch() -> None:
        while not stop.is_set():
            if not target.exists():
                missing.append(1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for number in range(200):
        write(target, str(number))
    stop.set()
    watcher.join()
    assert (target / "file").read_text() == "199"
    assert not missing


def test_what_a_killed_process_left_is_removed_and_what_another_is_writing_is_not(
    tmp_path: Path,
) -> None:
    target = tmp_path / "target"
    left, held, other, file = (tmp_path / f".onnx2mvit-{digit * 8}" for digit in "0123")
    mine = [tmp_path / name for name in (".target.00000000", ".onnx2mvit-notes", ".onnx2mvit-0")]
    for folder in (left, held, other, *mine):
        folder.mkdir()
        (folder / "file").touch()
    file.touch()
    for each in (left, held, file, *mine):
        os.utime(each, (0, 0))
    with hold(held):
        write(target, "new")
    assert names(tmp_path) == sorted(each.name for each in (held, other, *mine, target))


def test_a_folder_that_was_made_for_nothing_goes_again(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="broken"), whole_folder(tmp_path / "a" / "b" / "c"):
        raise ValueError("broken")
    assert names(tmp_path) == []


def test_a_disk_that_is_full_for_safetensors_is_one_as_well(tmp_path: Path) -> None:
    target = tmp_path / "target"
    with pytest.raises(Onnx2mvitError) as caught, whole_folder(target) as work:
        save_weights({"w": np.ones(3, np.float32)}, work / "nowhere" / "w.safetensors", {})
    assert os.strerror(errno.ENOENT) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


def test_a_temporary_folder_goes_again_and_so_does_what_was_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / ".onnx2mvit-00000000"
    left.mkdir()
    os.utime(left, (0, 0))
    with temporary_folder() as work:
        assert names(tmp_path) == [work.name]
        (work / "file").touch()
        assert stat.S_IMODE(work.stat().st_mode) == 0o700
    assert names(tmp_path) == []
