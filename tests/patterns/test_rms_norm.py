"""Normalization of pixels by how large they are, and where it does not hold by one detail."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.texts import Text, kinds, only

INVERSE = "i = Div(one, r)  n = Mul(x, i)"
RMS = Text(
    f"q = Mul(x, x)  m = ReduceMean<keepdims=1>(q, axis)  e = Add(m, eps)  r = Sqrt(e)  {INVERSE}\n"
    "y = Mul(n, gamma)",
    {"axis": [1], "eps": 1e-6, "one": 1.0, "gamma": (8, 1, 1)},
)
DEVIATION = Text(
    """
    p = Transpose<perm=[0,2,3,1]>(x)  a = ReduceMean<keepdims=1>(p, axis)  d = Sub(p, a)
    q = Mul(d, d)  m = ReduceMean<keepdims=1>(q, axis)  v = Mul(m, unbiased)  e = Add(v, eps)
    r = Sqrt(e)  i = Reciprocal(r)  n = Mul(p, i)  t = Transpose<perm=[0,3,1,2]>(n)
    y = Mul(t, gamma)
    """,
    {"axis": [3], "eps": 1e-6, "unbiased": 8 / 7, "gamma": (8, 1, 1)},
)


@pytest.mark.parametrize(
    ("text", "by_deviation"),
    [
        (RMS, False),
        (RMS.but("q = Mul(x, x)", "q = Pow(x, two)", two=2.0), False),
        (RMS.but(INVERSE, "n = Div(x, r)"), False),
        (RMS.but(INVERSE, "i = Reciprocal(r)  n = Mul(x, i)"), False),
        (DEVIATION, True),
        (
            DEVIATION.but(
                "m = ReduceMean<keepdims=1>(q, axis)",
                "k = ReduceMean<keepdims=0>(q, axis)  m = Reshape(k, kept)",
                kept=[2, 8, 8, 1],
            ),
            True,
        ),
    ],
    ids=["root mean square", "a power", "a quotient", "an inverse", "deviation", "by dynamo"],
)
def test_a_norm(tmp_path: Path, text: Text, by_deviation: bool) -> None:
    gamma = np.arange(8, dtype=np.float32)
    network = text.having(gamma=gamma.reshape(8, 1, 1)).lifted(tmp_path)
    found = only(network, "SimpleNorm2d" if by_deviation else "RMSNorm2d")
    assert found.params == {"by_deviation": by_deviation, "epsilon": 1e-6}
    (leaf,) = [block for block in found.walk() if block.weights]
    (weight,) = leaf.weights.values()
    assert weight.shape == ((1, 1, 8, 1) if by_deviation else (8,))
    assert (weight.ravel() == gamma).all()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (RMS.having(axis=[2]), ""),
        (RMS.having(one=2.0), ""),
        (RMS.having(gamma=(1, 8, 8)), "it has not one factor per channel"),
        (RMS.but("q = Mul(x, x)", "q = Mul(x, gamma)"), ""),
        (DEVIATION.having(unbiased=0.5), "its variance is no estimate"),
        (DEVIATION.but("d = Sub(p, a)", "d = Sub(a, p)"), ""),
        (DEVIATION.but("n = Mul(p, i)", "n = Mul(d, i)"), ""),
    ],
    ids=["of rows", "twice", "of places", "no square", "no estimate", "the other way round",
         "without the mean"],
)  # fmt: skip
def test_no_norm_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    assert kinds(text.lifted(tmp_path)).isdisjoint({"RMSNorm2d", "SimpleNorm2d"})
    kind = "OverDeviation" if "Sub" in text.nodes else "RMSNorm2d"
    assert not reason or text.reason(tmp_path, kind) == reason
