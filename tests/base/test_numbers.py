"""Numbers come out as a person would write them, and mean the same."""

import math

import numpy as np
import pytest

from onnx2mvit.base.numbers import ratio, shortest, written_number, written_whole


@pytest.mark.parametrize(
    "written", [1e-5, 1e-6, 1e-12, 0.9, 0.1, 0.001, 0.997, 1.0, 0.0, -0.3, 3e38, 16777216.0]
)
def test_a_float32_is_written_as_the_shortest_decimal_that_it_is(written: float) -> None:
    stored = float(np.float32(written))
    assert repr(shortest(stored)) == repr(written)


@pytest.mark.parametrize("seed", range(20))
def test_the_shortest_decimal_is_the_same_float32(seed: int) -> None:
    stored = np.float32(np.random.default_rng(seed).normal() * 10.0 ** (seed - 10))
    assert np.float32(shortest(float(stored))) == stored


def test_what_is_no_number_stays_so() -> None:
    assert math.isnan(shortest(math.nan)) and shortest(math.inf) == math.inf


@pytest.mark.parametrize(
    ("part", "whole", "factor"),
    [(256, 64, 4), (64, 64, 1), (32, 64, 0.5), (96, 64, 1.5), (0, 7, 0), (61, 17, 3.6),
     (7, 3, 2.3), (100, 3, 33.3), (1000, 3, 333.3), (1, 3, 0.3), (1, 1000, 0.001)],
)  # fmt: skip
def test_a_ratio_is_the_shortest_factor(part: int, whole: int, factor: float) -> None:
    assert repr(ratio(part, whole)) == repr(factor)


def test_every_ratio_leads_back() -> None:
    for whole in (1, 3, 7, 16, 24, 96, 144, 640):
        for part in range(1, 1000, 7):
            factor = ratio(part, whole)
            assert factor is not None and round(whole * factor) == part


def test_no_short_factor_is_none() -> None:
    assert ratio(123_456_789, 100_000_000) is None


def test_a_written_number_is_ascii() -> None:
    assert [*map(written_whole, ("32", " 8", "007"))] == [32, 8, 7]
    assert [*map(written_number, ("0.5", " 1/255", "1e-3", "-2", ".5"))] == [
        0.5,
        1 / 255,
        1e-3,
        -2,
        0.5,
    ]


@pytest.mark.parametrize("text", ["", "٣٢", "²", "-1", "1_0", "1.5", "0x10", "9" * 5000])
def test_what_is_no_whole_number(text: str) -> None:
    assert written_whole(text) is None


@pytest.mark.parametrize(
    "text", ["", "٠.٥", "1/٢", "5_0", "nan", "inf", "1/0", "1/2/3", "1e400", "9" * 5000, "a half"]
)
def test_what_is_no_number(text: str) -> None:
    assert written_number(text) is None


def test_a_number_of_a_billion_digits_is_refused_at_once() -> None:
    assert written_number("1e999999999") is None
