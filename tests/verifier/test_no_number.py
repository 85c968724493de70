"""Networks that compute with what is no number (0/0, roots of negatives): right ones pass alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnx2mvit
from tests.support.graphs import model, save

pytestmark = pytest.mark.xdist_group("verify")

# Of three channels one is as it was, and two are constant: 0/0, or one rounding by another.
FLAT: dict[str, Any] = {
    "one": np.array([1.0, 0.0, 0.0]).reshape(3, 1, 1),
    "beside": np.array([0, 0.3, 7.7]).reshape(3, 1, 1),
    "space": [2, 3],
}
MEAN = "m = Mul(x, one)  n = Add(m, beside)  e = ReduceMean(n, space)  d = Sub(n, e)"
STANDARD = f"{MEAN}  q = Mul(d, d)  v = ReduceMean(q, space)  s = Sqrt(v)  z = Div(d, s)"
OF_SQUARES = f"""{MEAN}  nn = Mul(n, n)  f = ReduceMean(nn, space)  ee = Mul(e, e)
    v = Sub(f, ee)  s = Sqrt(v)  z = Div(d, s)"""
OPERATOR = "m = Mul(x, one)  n = Add(m, beside)  z = MeanVarianceNormalization<axes=[2,3]>(n)"
GROUPS = """m = Mul(x, one)  n = Add(m, beside)
    z = GroupNormalization<num_groups=3, epsilon=0.0>"""
ROOT = "s = Sqrt(x)"
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "standardised": (STANDARD, "3,8,8", FLAT),
    "standardised by squares": (OF_SQUARES, "3,8,8", FLAT),
    "standardised, convolved": (
        f"{STANDARD.replace('z =', 'c =')}  z = Conv(c, w)",
        "4,8,8",
        FLAT | {"w": np.arange(12.0).reshape(4, 3, 1, 1) % 3},
    ),
    "MeanVarianceNormalization": (OPERATOR, "3,8,8", FLAT),
    "MeanVarianceNormalization, convolved": (
        f"{OPERATOR.replace('z =', 'c =')}  z = Conv(c, w)",
        "4,8,8",
        FLAT | {"w": np.arange(12.0).reshape(4, 3, 1, 1) % 3 + 1},
    ),
    "GroupNormalization": (
        f"{GROUPS}(n, gamma, beta)",
        "3,8,8",
        FLAT | {"gamma": np.array([1.0, 2.0, 3.0]), "beta": np.ones(3)},
    ),
    "zero length": (
        "m = Mul(x, some)  n = ReduceL2(m, first)  z = Div(m, n)",
        "3,8,8",
        {"some": np.arange(8.0) % 2, "first": [1]},
    ),
    "maxima in windows": (
        f"{ROOT}  z = MaxPool<kernel_shape=[2,2], strides=[2,2]>(s)",
        "3,4,4",
        {},
    ),
    "maxima": (f"{ROOT}  z = ReduceMax<keepdims=0>(s, space)", "3", {"space": [2, 3]}),
    "the largest": (
        f"{ROOT}  k = Constant<value_ints=[2]>()  z, i = TopK(s, k)",
        "3,8,2",
        {},
    ),
    "no answer but to what is positive": (
        "l = Log(x)  z = ReduceSum<keepdims=0>(l, space)",
        "3",
        {"space": [2, 3]},
    ),
    "looked after": (
        f"{ROOT}  n = IsNaN(s)  o = Constant<value_float=1.0>()  z = Where(n, o, s)",
        "3,8,8",
        {},
    ),
}


def written(folder: Path, body: str, shape: str, factor: float, **weights: Any) -> Path:
    folder.mkdir()
    text = f"g (float[N,3,8,8] x) => (float[N,{shape}] y) {{ {body}  y = Mul(z, factor) }}"
    return save(model(text, opset=21, factor=factor, **weights), folder, "net.onnx")


@pytest.mark.parametrize("case", CASES)
def test_a_right_model_passes_and_a_wrong_one_does_not(tmp_path: Path, case: str) -> None:
    body, shape, weights = CASES[case]
    file = written(tmp_path / "right", body, shape, 2.0, **weights)
    result = onnx2mvit.convert(file, tmp_path)
    assert result.passed, result.report["verification"]["float64"]
    other = written(tmp_path / "other", body, shape, 2.002, **weights)
    assert not onnx2mvit.verify(other, result.folder).passed


def test_only_what_all_runtimes_agree_on_is_compared_and_that_is_said(tmp_path: Path) -> None:
    body, shape, weights = CASES["maxima in windows"]
    file = written(tmp_path / "file", body, shape, 2.0, **weights)
    found = onnx2mvit.convert(file, tmp_path).report["verification"]
    assert any("computes with what is no number" in note for note in found["notes"])
    assert found["max_rel_error"] < 1e-5


def test_inputs_are_positive_where_the_file_has_no_answers_to_others(tmp_path: Path) -> None:
    body, shape, weights = CASES["no answer but to what is positive"]
    file = written(tmp_path / "file", body, shape, 2.0, **weights)
    found = onnx2mvit.convert(file, tmp_path).report["verification"]
    assert "8 inputs between 0 and 1" in found["images"]


def test_a_file_that_never_answers_with_a_number_is_no_proof(tmp_path: Path) -> None:
    body = "a = Abs(x)  o = Constant<value_float=-1.0>()  n = Sub(o, a)  z = Sqrt(n)"
    found = onnx2mvit.convert(written(tmp_path / "file", body, "3,8,8", 2.0), tmp_path)
    assert not found.passed
    assert any(
        "no answer of the file is a number" in each
        for each in found.report["verification"]["notes"]
    )


def test_what_the_file_makes_of_it_by_itself_is_still_compared(tmp_path: Path) -> None:
    """What the file makes of NaN by IsNaN is no matter of runtimes."""
    body, shape, _ = CASES["looked after"]
    file = written(tmp_path / "right", body, shape, 2.0)
    folder = onnx2mvit.convert(file, tmp_path).folder
    other = body.replace("value_float=1.0", "value_float=0.9")
    assert not onnx2mvit.verify(written(tmp_path / "other", other, shape, 2.0), folder).passed
