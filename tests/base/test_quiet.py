"""What libraries print is kept away, and what we print is not."""

import logging
import os
import threading

import keras
import pytest

from onnx2mvit.base.optional import optional
from onnx2mvit.base.quiet import as_command_line, loggers_at, one_line, quiet

SECONDS = 0.5  # to be in the way of another


def place(descriptor: int) -> tuple[int, int]:
    """Which file is open there."""
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def test_two_threads_that_are_quiet_at_once_leave_the_descriptors_as_they_were() -> None:
    before = [place(1), place(2)]
    inside, left = threading.Event(), threading.Event()

    def second() -> None:
        inside.wait()
        with as_command_line(), quiet():
            left.wait(SECONDS)

    thread = threading.Thread(target=second)
    thread.start()
    with as_command_line(), quiet():
        inside.set()
        thread.join(SECONDS / 2)
    left.set()
    thread.join()
    assert [place(1), place(2)] == before


def test_a_package_that_is_there_already_is_handed_out_without_a_silence() -> None:
    module = optional("json", extra="images")
    inside = threading.Event()

    def hold() -> None:
        with as_command_line(), quiet():
            inside.set()
            thread_may_end.wait(SECONDS * 10)

    thread_may_end = threading.Event()
    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    try:
        assert optional("json", extra="images") is module
        assert thread.is_alive()
    finally:
        thread_may_end.set()
        thread.join()


def test_a_library_call_drops_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet():
        os.write(2, b"what a library prints")
    assert capfd.readouterr().err == "what a library prints"
    with as_command_line(), quiet():
        os.write(2, b"what a library prints")
    assert capfd.readouterr().err == ""


def test_the_levels_of_loggers_are_as_before() -> None:
    logger = logging.getLogger("a library")
    with loggers_at(logging.ERROR, "a library"):
        assert not logger.isEnabledFor(logging.WARNING)
    assert logger.level == logging.NOTSET


def test_what_a_layer_of_keras_cannot_do_is_said_and_not_only_in_which() -> None:
    with pytest.raises(ValueError, match="Exception encountered when calling Reshape") as caught:
        keras.layers.Reshape((12, 16, 192))(keras.Input((221, 192)))
    assert "must be unchanged. Received: input_shape=(221, 192)" in one_line(caught.value)
