"""Graphs made to be slow take time in proportion to their size (processor time, so any load)."""

import gc
from collections.abc import Callable

import pytest

from tests.performance.adversarial import (
    clashing_names,
    commutative,
    doubling,
    model,
    near_misses,
    residuals,
    seconds,
)
from tests.performance.matching import Writer

# Times are for benchmarks: with the other slow cases, not where a busy machine decides.
pytestmark = pytest.mark.slow
LIKELY = (residuals, near_misses, commutative, doubling, clashing_names)  # `make bench`: all


def needed(make: Callable[[Writer, str, int], str], size: int) -> float:
    made = model(make, size)
    gc.collect()
    return sum(seconds(made))


@pytest.mark.parametrize("make", LIKELY, ids=lambda make: make.__name__)
def test_four_times_the_graph_takes_about_four_times_as_long(
    make: Callable[[Writer, str, int], str],
) -> None:
    needed(make, 50)
    # What is quadratic takes 16 times as long, less what both have in common.
    assert needed(make, 800) < 7 * needed(make, 200) + 0.05
