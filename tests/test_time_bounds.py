"""Graphs made to be slow take time in proportion to their size (processor time, so any load)."""

import gc
from collections.abc import Callable

import pytest

from tests.benchmark_adversarial import GRAPHS, model, seconds
from tests.benchmark_matching import Writer


def least(make: Callable[[Writer, str, int], str], size: int) -> float:
    made = model(make, size)
    gc.collect()
    return min(sum(seconds(made)) for _ in range(2))


@pytest.mark.parametrize("make", GRAPHS, ids=lambda make: make.__name__)
def test_four_times_the_graph_takes_about_four_times_as_long(
    make: Callable[[Writer, str, int], str],
) -> None:
    least(make, 50)
    # What is quadratic takes 16 times as long, less what both have in common.
    assert least(make, 800) < 7 * least(make, 200) + 0.05
