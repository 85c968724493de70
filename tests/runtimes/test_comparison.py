"""Comparison: errors, noise and classes over all pairs of tensors, and the verdict."""

import json

import numpy as np
import pytest

from onnx2mvit.runtimes.comparison import FARTHEST, Comparison


def test_errors_are_the_largest_of_all_pairs() -> None:
    comparison = Comparison().add(np.array([1.0, 2.0]), np.array([1.0, 2.5]))
    comparison.add(np.array([-10.0]), np.array([-10.1]))
    assert comparison.max_abs_error == 0.5
    assert comparison.max_rel_error == pytest.approx(0.5 / 2.5)
    assert comparison.within(0.21)
    assert not comparison.within(0.19)


def test_what_was_not_compared_is_not_near() -> None:
    assert not Comparison().within(1.0)


@pytest.mark.parametrize(
    "ours", [np.array([np.nan, 1.0]), np.array([np.inf, 1.0]), np.array([[1.0, 1.0]])]
)
def test_another_shape_and_what_is_no_number_are_as_far_off_as_can_be(ours: np.ndarray) -> None:
    comparison = Comparison().add(ours, np.ones(2)).add(np.ones(2), np.ones(2))
    assert not comparison.within(1e300)
    assert comparison.max_abs_error == FARTHEST
    json.dumps([comparison.max_abs_error, comparison.max_rel_error], allow_nan=False)


def test_masks_and_indices_are_right_or_wrong() -> None:
    right = np.arange(1000)
    nearly = np.where(right == 7, 8, right)
    assert Comparison().add(right.astype(np.int32), right).within(0.0)
    found = Comparison().add(nearly, right)
    assert found.max_rel_error == pytest.approx(1e-3)
    assert not found.within(0.01)
    assert not Comparison().add(right > 8, right > 7).within(1e-2)


def test_the_same_infinities_differ_in_nothing_and_nothing_finite_is_no_proof() -> None:
    odd = np.array([np.inf, -np.inf, np.nan, 2.0])
    found = Comparison().add(odd.copy(), odd)
    assert found.within(0.0)
    assert not Comparison().add(odd[:3], odd[:3]).within(1.0)
    assert not Comparison().add(-odd, odd).within(1.0)
    assert not Comparison().add(np.zeros((0, 3)), np.zeros((0, 3))).within(1.0)


def test_what_float32_has_no_normal_number_for_may_be_zero() -> None:
    subnormal = np.array([1e-38, 0.0], np.float32)
    assert Comparison().add(np.zeros(2, np.float32), subnormal).within(0.0)
    assert not Comparison().add(np.zeros(2, np.float32), 2 * subnormal).within(0.1)


def test_others_are_joined() -> None:
    one, other = Comparison(), Comparison().add(np.zeros(1), np.full(1, 4.0))
    one.join(other)
    assert one.seen
    assert (one.max_abs_error, one.largest) == (4.0, 4.0)


def test_classes_are_those_of_vectors_alone() -> None:
    right = np.array([[1.0, 3.0], [5.0, 1.0], [2.0, 2.5]])
    found = Comparison(answers=True).add(right[:, ::-1], right)
    found.add(right, right)
    assert found.agreeing == [False] * 3 + [True] * 3
    assert found.margins == [2.0, 4.0, 0.5] * 2
    assert found.different_answers == 2
    for shape in ((3, 1), (3, 4, 4)):
        none = Comparison(answers=True).add(np.ones(shape), np.ones(shape))
        assert (none.agreeing, none.margins, none.different_answers) == ([], [], 0)
