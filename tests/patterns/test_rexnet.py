"""ReXNet's block, and where it does not hold by one detail."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.texts import Text, conv, conv_silu, kinds, only

RELU6 = "act = Clip(dw, low, high)\n"


def block(filters: int = 12, strides: int = 1) -> Text:
    """8 channels expanded to 32 and made `filters`, of which the first 8 get the input."""
    steps = f"strides=[{strides},{strides}]"
    text = conv_silu("x", "expand", 32, 8, 1) + conv("expand", "dw", 32, 32, 3, steps, group=32)
    text += Text(RELU6, {"low": 0.0, "high": 6.0}) + conv("act", "project", filters, 32, 1)
    if strides > 1:
        return text + Text("y = Identity(project)")
    part = "Slice(project, {}, {}, one, one)"
    nodes = f"first = {part.format('zero', 'eight')}  rest = {part.format('eight', 'all')}\n"
    ends = {"zero": [0], "one": [1], "eight": [8], "all": [filters]}
    return text + Text(f"{nodes} s = Add(first, x)  y = Concat<axis=1>(s, rest)", ends)


@pytest.mark.parametrize(
    ("text", "changed"),
    [(block(), {}), (block(20), {"filters": 20}), (block(12, 2), {"strides": 2})],
)
def test_a_block(tmp_path: Path, text: Text, changed: dict[str, Any]) -> None:
    network = text.lifted(tmp_path)
    assert not network.unrecognised
    params = only(network, "ReXNetBlock").params
    assert {key: params[key] for key in ("filters", "expansion", "strides", "activation")} == {
        "filters": 12, "expansion": 4, "strides": 1, "activation": "silu",
    } | changed  # fmt: skip
    assert params["depthwise_activation"] == "relu6"
    assert not params["squeeze_norm"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (block().but("first = Slice(project, zero, eight", "first = Slice(project, four, twelve",
                     four=[4], twelve=[12]),
         "its parts are [(4, 12), (8, 12)]"),
        (block().but("Concat<axis=1>(s, rest)", "Concat<axis=1>(rest, s)"), ""),
        (block(12, 2).but("y = Identity(project)", "y = Identity(act)"), ""),
        (block().but(RELU6, "act = Identity(dw)\n"),
         "nothing is active after its convolution"),
    ],
    ids=["the last channels", "the other way round", "no projection",
         "not active"],
)  # fmt: skip
def test_no_block_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    assert "ReXNetBlock" not in kinds(text.lifted(tmp_path))
    assert not reason or text.reason(tmp_path, "ReXNetBlock") == reason
