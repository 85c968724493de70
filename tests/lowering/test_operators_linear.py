"""Single operators that multiply matrices, add, compare and reduce."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx2mvit import convert, inspect
from onnx2mvit.ir.expr import Name
from onnx2mvit.ir.layout import BATCH
from onnx2mvit.lowering.operators.arithmetic import added
from onnx2mvit.runtimes import OnnxRuntimeRunner, as_the_file
from tests.support.graphs import model, save
from tests.support.operators import CONV, code, converted, reason

TOKENS = "f = Reshape(x, flat)  t = Transpose<perm=[0,2,1]>(f)  "  # (N, 120, 8), as it stands
FLAT: dict[str, Any] = {"flat": [0, 8, 120]}
HEADS = TOKENS + "h = Reshape(t, heads)  q = Transpose<perm=[0,2,1,3]>(h)  "
NUMBERS: dict[str, Any] = {**FLAT, "heads": [0, 120, 2, 4]}


@pytest.mark.parametrize(
    ("its", "other", "expected"),
    [
        ((BATCH, 4, 4), (4,), "ops.add(a, b)"),
        ((BATCH, 4, 4), (4, 1), "ops.add(b, a)"),  # Keras would add it along the last axis
        ((4, 1), (BATCH, 4, 4), "ops.add(a, b)"),
        ((BATCH, 4, 4), (BATCH, 4, 1), "ops.add(b, a)"),  # for one image
        ((BATCH, 3, 5), (BATCH, 1, 1), "ops.add(b, a)"),  # for 3 or 5 images
        ((BATCH, 3, 5), (BATCH, 3, 5), "ops.add(a, b)"),
        ((BATCH, 1, 5), (3, 1), "ops.add(a, b)"),
        ((BATCH, 4, 1), (BATCH, 1, 4), "ops.subtract(a, ops.negative(b))"),  # for one image
        ((BATCH, 3, 5), (), "ops.add(a, b)"),
    ],
)
def test_a_sum_is_written_so_that_keras_takes_nothing_for_a_bias(
    its: tuple[int, ...], other: tuple[int, ...], expected: str
) -> None:
    assert str(added(Name("a"), Name("b"), its, other)) == expected


def test_attention_is_computed_in_the_order_that_is_there(tmp_path: Path) -> None:
    nodes = HEADS + "k = Transpose<perm=[0,2,3,1]>(h)  s = MatMul(q, k)  y = MatMul(s, q)"
    first, second = code(nodes, tmp_path, **NUMBERS)[-2:]
    assert first == "ops.einsum('bmhk,bnhk->bmhn', $0, $1)"
    assert second == "ops.einsum('bmhk,bkhn->bmhn', $0, $1)"


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ("MatMul(t, k)", "layers.Dense(5, use_bias=False, name=$name)($0)"),
        ("MatMul(few, t)", "ops.matmul(parameter($0, (3, 120), name=$name), $1)"),
        ("MatMul(t, f)", "ops.einsum('bmk,bnk->bnm', $0, $1)"),
        ('Einsum<equation="bnc,cd->bnd">(t, k)', "ops.einsum('bnc,cd->bnd', $0, parameter("),
        ('Einsum<equation="bcn,cd->bnd">(f, k)', "ops.einsum('bnc,cd->bnd', $0, parameter("),
        ('Einsum<equation="b i c, b j c -> b i j">(t, t)', "ops.einsum('bic,bjc->bij', $0, $1)"),
        ('Einsum<equation="B I C, B i C -> B I i">(t, t)', "ops.einsum('bac,bic->bai', $0, $1)"),
        ('Einsum<equation="...c,dc">(t, w)', "ops.einsum('abc,dc->abd', $0, parameter($1"),
    ],
)
def test_what_a_product_becomes(node: str, expected: str, tmp_path: Path) -> None:
    text = code(f"{TOKENS} y = {node}", tmp_path, k=(8, 5), few=(3, 120), w=(5, 8), **FLAT)[-1]
    assert text.startswith(expected)


def test_products_answer_as_onnxruntime(tmp_path: Path) -> None:
    found = converted(
        HEADS
        + """
        k = Transpose<perm=[0,2,3,1]>(h)     s = MatMul(q, k)       v = MatMul(s, q)
        o = Transpose<perm=[0,2,1,3]>(v)     a = Reshape(o, joined)
        b = MatMul(few, t)                   c = Einsum<equation="bnc,bmc->bm">(t, t)
        m = ReduceMean<axes=[1], keepdims=0>(t)
        i = Transpose(m)                     d = Gemm<alpha=0.5, transA=1>(i, u, row)
        e = Gemm<transB=1, beta=2.0>(m, u, col)
        g = Einsum<equation="...HI, ...hI -> ...Hh">(q, q)
        """,
        tmp_path,
        outputs="a b c d e g",
        opset=17,
        few=(3, 120),
        u=(8, 8),
        row=(8,),
        col=(1, 8),
        joined=[0, 120, 8],
        **NUMBERS,
    )
    assert found.transposes == 0


def test_arithmetic_and_logic_answer_as_onnxruntime(tmp_path: Path) -> None:
    converted(
        """
        a = Conv<pads=[1,1,1,1]>(x, w)           rows = Add(a, perrow)
        p = ReduceMean<axes=[2,3]>(rows)         both = Add(p, a)
        small = Less(a, one)                     big = Greater(a, two)
        some = Or(small, big)                    b = Where(some, a, both)
        c = Mod<fmod=1>(a, table)                d = Max(a, b, both)
        e = Mean(a, p, both)                     mask = Not(big)
        far = And(small, mask)                   f = Where(far, a, table)
        """,
        tmp_path,
        outputs="b c d e f",
        opset=17,
        perrow=(12, 1),
        table=(12, 10),
        one=0.1,
        two=0.5,
        **CONV,
    )


def test_reductions_answer_as_onnxruntime(tmp_path: Path) -> None:
    found = converted(
        """
        a = Conv<pads=[1,1,1,1]>(x, w)         b = ReduceL2<axes=[1]>(a)
        c = ReduceMax<axes=[2,3]>(a)           d = ReduceLogSumExp<axes=[1,3], keepdims=0>(a)
        e = ReduceMean<axes=[-1], keepdims=0>(a)
        f0 = ArgMax<axis=1, keepdims=0>(a)     f = Cast<to=1>(f0)
        g0 = ArgMin<axis=2, select_last_index=1>(a)  g = Cast<to=1>(g0)
        h = CumSum<exclusive=1, reverse=1>(a, one)   k, l = TopK<axis=1>(a, three)
        m = ReduceProd<axes=[2], keepdims=0>(a)
        n, o = TopK<axis=1, largest=0>(a, three)     p0, q = TopK<axis=1>(x, three)
        s, s0 = TopK<axis=1, sorted=0>(a, single)
        labels = Cast<to=1>(l)  least = Cast<to=1>(o)  columns = Cast<to=1>(q)
        """,
        tmp_path,
        outputs="b c d e f g h k m labels n least columns s",
        opset=17,
        one=1,
        three=[3],
        single=[1],
        **CONV,
    )
    assert found.transposes == 0
    for line in (
        "top_k0_values, top_k0_indices = ops.top_k(",
        "top_k1_values = ops.negative(top_k1_values)",
        "_, top_k2_indices = ops.top_k(",
    ):
        assert line in found.lines
    assert found.report["connections"]["outputs"]["k"] == "top_k0"
    assert found.report["verification"]["rewrite"]["max_rel_error"] < 1e-5


def test_a_sum_of_integers_ends_at_the_largest_as_onnxruntime_s_does(tmp_path: Path) -> None:
    text = """g (int32[N,2,4,4] x) => (int32[N] y, int32[N,2] z, int32[N,2] q, int32[N,4,4] p) {
        y = ReduceSum<keepdims=0>(x, each)  z = ReduceL1<keepdims=0>(x, space)
        q = ReduceSumSquare<keepdims=0>(x, space)  p = ReduceProd<keepdims=0>(x, pair)
    }"""
    file = save(model(text, opset=18, each=[1, 2, 3], space=[2, 3], pair=[1]), tmp_path)
    made = convert(file, tmp_path, inputs=2)
    ours, theirs = as_the_file(made.model, inspect(file)), OnnxRuntimeRunner(file)
    for most in (2, 100, 1 << 24, 1 << 28, (1 << 31) - 1):
        images = np.random.default_rng(0).integers(-most, most, (3, 2, 4, 4), np.int32)
        images[1] = most
        found = ours(images)
        for name, array in theirs(images).items():
            np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ("ReduceSum<keepdims=1>(x, all)", "ReduceSum over axis 0 mixes the images"),
        ("CumSum(x, none)", "CumSum over axis 0 mixes the images"),
        ('Einsum<equation="bchw,dchw->bd">(x, x)', "Einsum mixes the images"),
        ('Einsum<equation="bchc->bh">(s)', "it takes a diagonal"),
        ("MatMul(m, f)", "MatMul sums over the images"),
        ("Pow(i, i)", "it computes int64, not floats"),
        ("ReduceProd(i, last)", "onnxruntime's ReduceProd of int64 ends at the largest integer"),
        ("ReduceSumSquare(i, last)", "of int64 ends at the largest integer"),
        ("j = Cast<to=6>(i)  y = ReduceProd(j, last)", "onnxruntime's product of many integers"),
    ],
)
def test_what_is_refused(node: str, expected: str, tmp_path: Path) -> None:
    nodes = "i = ArgMax<axis=1>(x)  s = Slice(x, o, e, a)  g = GlobalMaxPool(x)  f = Flatten(g)"
    nodes += f"  m = Transpose(f)  {node if ' y = ' in node else f'y = {node}'}"
    numbers = {"all": [0], "none": 0, "o": [0], "e": [8], "a": [3], "last": [3]}
    assert expected in reason(nodes, tmp_path, **numbers)


def test_integers_are_counted_as_integers_or_not_at_all(tmp_path: Path) -> None:
    cut_off = "c = Cast<to=6>(x)  d = ReduceMean<axes=[1]>(c)  y = Cast<to=1>(d)"
    assert "of integers is an integer" in reason(cut_off, tmp_path, opset=17)
    bytes_of = "b = Cast<to=2>(x)  i = Cast<to=6>(b)  s = ReduceSum(i, one)  y = Cast<to=1>(s)"
    line, *_ = code(bytes_of, tmp_path, opset=17, one=[1])
    assert line == "ops.cast(ops.cast($0, 'int32'), 'uint8')"
    converted(bytes_of, tmp_path, opset=17, one=[1])  # on negative and on large numbers as well
