"""Operators of integers: division, indices as vectors, and sequences of so many steps."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx2mvit.emitter.emit import emit
from tests.support.operators import converted, network, reason

WHOLE = "s = Mul(x, ten)  i = Cast<to=7>(s)"
TEN: dict[str, Any] = {"ten": np.float32(10)}


def test_integers_are_divided_towards_zero(tmp_path: Path) -> None:
    nodes = f"""{WHOLE}  a = Div(i, by)  k = Neg(i)  t = Mul(k, k)  o = Add(t, one)  b = Div(k, o)
        n = Abs(i)  u = Cast<to=6>(n)  v = Cast<to=6>(three)
        c = Div(u, v)  d = Cast<to=7>(c)
        e = Add(a, b)  f = Add(e, d)  y = Cast<to=1>(f)"""
    by = np.array([1, -1, 2, -2, 3, -3, 7, 100], np.int64).reshape(1, 8, 1, 1)
    weights = {"by": by, "one": np.int64(1), "three": np.int64(3), **TEN}
    made = converted(nodes, tmp_path, **weights)
    assert made.lines.count("divide_integers(") == 3


def test_a_divisor_of_zero_is_refused(tmp_path: Path) -> None:
    nodes = f"{WHOLE}  a = Div(i, none)  y = Cast<to=1>(a)"
    assert reason(nodes, tmp_path, none=np.int64(0), **TEN) == "it divides integers by zero"


@pytest.mark.parametrize("axis", [-1, 0, 1, 2])
def test_indices_become_vectors(axis: int, tmp_path: Path) -> None:
    """Negative ones count from the end; what is beyond both is nowhere."""
    nodes = f"""{WHOLE}  a = OneHot<axis={axis}>(i, six, ends)  b = OneHot<axis={axis}>(i, six, two)
        c = Cast<to=1>(b)  y = Add(a, c)"""
    weights = {"six": [6], "ends": np.array([-0.5, 2.0]), "two": np.array([1, 3]), **TEN}
    made = converted(nodes, tmp_path, **weights)
    assert "one_hot(" in made.lines


def test_vectors_of_tokens_hold_at_every_length(tmp_path: Path) -> None:
    nodes = f"""{WHOLE}  a = OneHot(i, six, ends)  b = MatMul(a, table)
        y = ReduceMax<keepdims=0>(b, last)"""
    weights = {"six": [6], "ends": np.array([0.0, 1.0]), "table": (6, 4), "last": [-1], **TEN}
    made = converted(nodes, tmp_path, **weights)
    assert made.report["sizes"]["by_rule"].startswith("any height and width")


LENGTHS = """g = Abs(x)  h = ReduceMax<keepdims=0>(g, rest)  k = Clip(h, one, eight)
    n = Cast<to=7>(k)"""


@pytest.mark.parametrize(
    ("turn", "axes"),
    [([0, 2, 1, 3], (0, 1)), ([0, 1, 2, 3], (0, 1)), ([3, 0, 1, 2], (1, 0))],
    ids=["rows", "channels", "columns, which are first"],
)
def test_sequences_are_turned_round_as_far_as_each_image_says(
    turn: list[int], axes: tuple[int, int], tmp_path: Path
) -> None:
    batch, time = axes
    nodes = f"""{LENGTHS}  t = Transpose<perm={turn}>(x)
        y = ReverseSequence<batch_axis={batch}, time_axis={time}>(t, n)"""
    weights: dict[str, Any] = {"rest": [1, 2, 3], "one": np.float32(1), "eight": np.float32(8)}
    made = converted(nodes, tmp_path, **weights)
    assert made.report["sizes"]["by_rule"].startswith("any height and width")


def test_sequences_of_channels_are_turned_round_as_the_file_says(tmp_path: Path) -> None:
    nodes = """r = Reshape(x, rows)  t = Transpose<perm=[1,2,0]>(r)
        s = ReverseSequence<batch_axis=0, time_axis=1>(t, lengths)
        y = Transpose<perm=[2,0,1]>(s)"""
    lengths = np.array([1, 2, 3, 4, 5, 100, 9, 2])
    converted(nodes, tmp_path, rows=[0, 8, 120], lengths=lengths)


def test_sequences_of_one_batch_that_differ_are_refused_for_any_other(tmp_path: Path) -> None:
    nodes = "y = ReverseSequence<batch_axis=0, time_axis=2>(x, lengths)"
    found = reason(nodes, tmp_path, image="float[3,8,12,10] x", lengths=np.array([1, 2, 3]))
    assert found == "a length differs from image to image"
    found = reason(nodes.replace("=0", "=2").replace("=2>", "=0>"), tmp_path,
                   lengths=np.ones(12, np.int64))  # fmt: skip
    assert found == "ReverseSequence over axis 0 mixes the images"
    alike = network(nodes, tmp_path, image="float[3,8,12,10] x", lengths=np.array([7, 7, 7]))
    assert "reverse_sequence" in emit(alike, "net", "test")
