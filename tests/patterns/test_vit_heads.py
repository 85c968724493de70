"""The heads of vision transformers: which tokens are pooled, and one classifier or two."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.patterns.test_pattern_vit import BATCH, DIM, NUMBER, TOKENS, VECTORS
from tests.support.texts import Text, dense, every, kinds, only

FIRST = Text("p = Gather<axis=1>(t, first)\n", {"first": np.array(0), "second": np.array(1)})
MEAN = Text("p = ReduceMean<keepdims=0>(t, axes)\n", {"axes": [1], "one": [1], "all": [1 << 30]})
LATER = MEAN.but("(t, axes)", "(l, axes)").but("p = ", "l = Slice(t, one, all, axes)  p = ")


@pytest.mark.parametrize(
    ("text", "params"),
    [
        (FIRST, {"pooling": "token", "start": 0}),
        (FIRST.but("(t, first)", "(t, second)"), {"pooling": "token", "start": 1}),
        (FIRST.having(first=np.array(-1)), {"pooling": "token", "start": -1}),
        (MEAN, {"pooling": "mean", "start": 0}),
        (LATER, {"pooling": "mean", "start": 1}),
    ],
    ids=["first", "second", "last", "mean", "mean without the first"],
)
def test_pooling_and_a_head(tmp_path: Path, text: Text, params: dict[str, Any]) -> None:
    pooled = (TOKENS + text).lifted(tmp_path, image=VECTORS, outputs="p")
    assert only(pooled, "TokenPooling").params == params
    head = (TOKENS + text + dense("p", "y", 5)).lifted(tmp_path, image=VECTORS)
    expected = {"num_classes": 5, "use_bias": True, **params}
    assert only(head, "TokenClassifier").params == expected
    hidden = TOKENS + text + dense("p", "h", 5) + Text("y = Tanh(h)")
    expected = {"dim": 5, **params}
    assert only(hidden.lifted(tmp_path, image=VECTORS), "Pooler").params == expected
    answers = hidden.but("Tanh(h)", "Sigmoid(h)").lifted(tmp_path, image=VECTORS)
    assert not every(answers, "Pooler") and len(every(answers, "TokenClassifier")) == 1


@pytest.mark.parametrize(
    "text",
    [
        FIRST.but("Gather<axis=1>", "Gather<axis=2>"),
        MEAN.having(axes=[2]),
        MEAN.having(axes=[1, 2]),
        LATER.having(all=[NUMBER - 1]),
        LATER.but("ReduceMean", "ReduceMax"),
    ],
    ids=["a channel", "over channels", "over all", "without the last", "maximum"],
)
def test_no_pooling_of_all_tokens_by_one_detail(tmp_path: Path, text: Text) -> None:
    network = (TOKENS + text).lifted(tmp_path, image=VECTORS, outputs="p")
    assert not [b for b in every(network, "TokenPooling") if b.params["start"] != 0]
    assert len(every(network, "TokenPooling")) == ("ReduceMean<keepdims=0>(l" in text.nodes)


HEADS = (
    TOKENS + FIRST + dense("p", "a", 5) + Text("q = Gather<axis=1>(t, second)\n")
    + dense("q", "b", 5) + Text("s = Add(a, b)  y = Mul(s, half)", {"half": 0.5})
)  # fmt: skip


@pytest.mark.parametrize("end", ["y = Mul(s, half)", "y = Mul(half, s)", "y = Div(s, two)"])
def test_distilled_heads(tmp_path: Path, end: str) -> None:
    text = HEADS.but("y = Mul(s, half)", end, two=2.0)
    network = text.lifted(tmp_path, image=VECTORS)
    block = only(network, "DistilledClassifier")
    assert block.params == {"num_classes": 5}
    assert [(child.role, child.kind) for child in block.children][:2] == [
        ("head", "TokenClassifier"), ("dist", "TokenClassifier")
    ]  # fmt: skip


def test_heads_whose_logits_are_outputs_too(tmp_path: Path) -> None:
    network = HEADS.lifted(tmp_path, image=VECTORS, outputs="y a b")
    assert len(every(network, "TokenClassifier")) == 2 and len(every(network, "Average")) == 1
    assert not every(network, "DistilledClassifier")


@pytest.mark.parametrize(
    ("text", "average"),
    [
        (HEADS.having(half=0.4), False),
        (HEADS.but("Add(a, b)", "Sub(a, b)"), False),
        (HEADS.but("Add(a, b)", "Add(a, c)", c=(BATCH, 5)), False),
        (HEADS.but("Add(a, b)", "Add(a, b)").having(b_w=(DIM, 1), b_b=(1,)), False),
        (HEADS.but("Gather<axis=1>(t, second)", "Gather<axis=1>(t, first)"), True),
        (HEADS.having(second=np.array(2)), True),
        (HEADS.but("Add(a, b)", "Add(b, a)"), True),
    ],
    ids=["another factor", "difference", "constant", "one logit", "one token", "third token",
         "other order"],
)  # fmt: skip
def test_no_distilled_heads_by_one_detail(tmp_path: Path, text: Text, average: bool) -> None:
    network = text.lifted(tmp_path, image=VECTORS)
    assert "DistilledClassifier" not in kinds(network)
    assert len(every(network, "Average")) == average
