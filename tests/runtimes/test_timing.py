"""Calls are timed in blocks that take turns."""

from collections.abc import Callable
from itertools import groupby

import pytest

from onnx2mvit.runtimes.timing import Timing, interleave


class Clock:
    """Goes on only where a call takes time, so that no other process is in the figures."""

    now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.perf_counter", lambda: clock.now)
    return clock


def noting(names: list[str], name: str) -> Callable[[], None]:
    return lambda: names.append(name)


def test_blocks_take_turns_and_every_second_round_runs_backwards() -> None:
    seen: list[str] = []
    calls = {name: noting(seen, name) for name in "abc"}
    timings = interleave(calls, rounds=3, warm_up=2, timed=4)
    blocks = [(name, len(list(group))) for name, group in groupby(seen)]
    # Where two rounds meet the same name comes twice in a row.
    assert blocks == [("a", 6), ("b", 6), ("c", 12), ("b", 6), ("a", 12), ("b", 6), ("c", 6)]
    assert {name: [len(block) for block in timing.rounds] for name, timing in timings.items()} == {
        name: [4, 4, 4] for name in "abc"
    }


def test_the_warm_up_does_not_count(clock: Clock) -> None:
    seconds = iter([0.2, 0.01, 0.02, 0.2, 0.03, 0.04])
    timings = interleave({"a": lambda: clock.sleep(next(seconds))}, rounds=2, warm_up=1, timed=2)
    first, second = timings["a"].rounds
    assert first == pytest.approx((0.01, 0.02))
    assert second == pytest.approx((0.03, 0.04))


def test_a_call_that_takes_twice_as_long_has_the_ratio_two(clock: Clock) -> None:
    calls = {"one": lambda: clock.sleep(0.02), "two": lambda: clock.sleep(0.04)}
    timings = interleave(calls, rounds=3, warm_up=0, timed=3)
    ratio = timings["two"].ratio(timings["one"])
    assert (ratio.least, ratio.median, ratio.greatest) == pytest.approx((2, 2, 2))
    assert timings["one"].ratio(timings["one"]).greatest == 1


def test_a_ratio_is_of_the_same_round_and_keeps_its_spread() -> None:
    ours = Timing(((1.0, 2.0, 9.0), (4.0, 4.0, 4.0), (30.0, 30.0, 30.0)))
    theirs = Timing(((1.0, 1.0, 1.0), (4.0, 4.0, 4.0), (10.0, 10.0, 10.0)))
    assert ours.medians == [2, 4, 30]
    assert ours.seconds == 4
    ratio = ours.ratio(theirs)
    assert (ratio.least, ratio.median, ratio.greatest) == (1, 2, 3)


def test_progress_counts_rounds() -> None:
    said: list[tuple[int, int]] = []
    interleave({"a": lambda: None}, rounds=2, progress=lambda *pair: said.append(pair))
    assert said == [(0, 2), (1, 2), (2, 2)]
