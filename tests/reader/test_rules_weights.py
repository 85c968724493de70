"""The rule for attention whose values stand before the weights."""

import pytest

from onnx2mvit.reader.rules import unify
from tests.reader.test_rules import ops, unified
from tests.support.graphs import model
from tests.support.run_graph import plain

# Read by tests.support.rules_table.
COVERS = {"WeightsBeforeValues"}


@pytest.mark.parametrize(
    ("heads", "perm"), [("2,", "0,1,3,2"), ("", "0,2,1")], ids=["heads", "a head"]
)
def test_weights_stand_before_values(heads: str, perm: str) -> None:
    body = f"""(float[2,{heads}3,5] v, float[2,{heads}4,5] s) => (float[2,{heads}3,4] y)
    {{ w = Softmax<axis=-1>(s)  t = Transpose<perm=[{perm}]>(w)  y = MatMul(v, t) }}"""
    assert ops(unified(body)) == ["Softmax", "Transpose", "MatMul", "Transpose"]


@pytest.mark.parametrize(
    ("weights", "perm"),
    [("Sigmoid(s)", "0,2,1"), ("Softmax<axis=-1>(s)", "1,2,0"), ("Softmax<axis=1>(s)", "0,2,1")],
    ids=["no weights", "moved otherwise", "weights of queries"],
)
def test_other_products_stay(weights: str, perm: str) -> None:
    body = f"""g (float[5,3,5] v, float[5,5,5] s) => (float[5,3,5] y)
    {{ w = {weights}  t = Transpose<perm=[{perm}]>(w)  y = MatMul(v, t) }}"""
    graph = plain(model(body))
    unify(graph)
    assert [op for op in ops(graph) if op in ("Transpose", "MatMul")] == ["Transpose", "MatMul"]
