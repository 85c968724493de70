"""Squeeze and excitation, and gates that are something else."""

from pathlib import Path

import pytest

from tests.support.texts import Text, conv, kinds

POOL = "pool = ReduceMean<keepdims=1>(x, axes)\n"
AXES = {"axes": [2, 3]}
REDUCE = conv("pool", "reduce", 4, 8, 1) + Text("act = Relu(reduce)\n")
EXPAND = conv("act", "expand", 8, 4, 1) + Text("gate = Sigmoid(expand)\n")
GATE = Text(POOL, AXES) + REDUCE + EXPAND
BLOCK = GATE + Text("y = Mul(x, gate)")
HARD = "HardSigmoid<alpha=0.16666667, beta=0.5>"


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        (BLOCK, {}),
        (BLOCK.but("Mul(x, gate)", "Mul(gate, x)"), {}),
        (BLOCK.but("ReduceMean<keepdims=1>(x, axes)", "GlobalAveragePool(x)"), {}),
        (BLOCK.but("gate = Sigmoid", f"gate = {HARD}"), {"gate": "hard_sigmoid"}),
        (
            BLOCK.but("act = Relu(reduce)", "s = Sigmoid(reduce)  act = Mul(reduce, s)"),
            {"activation": "silu"},
        ),
        (
            BLOCK.but("pool, reduce_w, reduce_b", "pool, reduce_w").but(
                "act, expand_w, expand_b", "act, expand_w"
            ),
            {"use_bias": False},
        ),
    ],
)
def test_squeeze_and_excitation(tmp_path: Path, text: Text, changed: dict[str, object]) -> None:
    network = text.lifted(tmp_path)
    (block,) = network.blocks
    usual = {"filters": 4, "activation": "relu", "gate": "sigmoid", "use_bias": True}
    assert (block.kind, block.params) == ("SqueezeExcite", usual | changed)
    assert [child.role for child in block.children] == ["pool", "reduce", "expand"]
    assert not network.unrecognised


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            Text("other = Sin(x)\n") + BLOCK.but("Mul(x, gate)", "Mul(other, gate)"),
            "x is another value than before",
        ),
        (
            BLOCK.but(POOL, "pool = ReduceMax<keepdims=1>(x, axes)\n"),
            "pool (GlobalMean) expected, found <ReduceMax>",
        ),
        (
            BLOCK.but("act = Relu(reduce)", "act = Identity(reduce)"),
            "reduce (ConvBnAct): activation is None",
        ),
        (
            BLOCK.but("gate = Sigmoid", "gate = Tanh"),
            "expand (ConvBnAct): activation is 'tanh'",
        ),
        (
            BLOCK.but("gate = Sigmoid", "gate = HardSigmoid<beta=0.4>"),
            "expand (ConvBnAct) expected, found <HardSigmoid>",
        ),
        (
            BLOCK.having(expand_w=(1, 4, 1, 1), expand_b=(1,)),
            "the gate is for 1 channels",
        ),
        (
            BLOCK.but("act, expand_w, expand_b", "act, expand_w"),
            "reduce has use_bias True, expand has False",
        ),
        (
            BLOCK.but("group=1 >(pool", "group=2>(pool", reduce_w=(4, 4, 1, 1)),
            "reduce (ConvBnAct): groups is 2, not 1",
        ),
        (BLOCK.but("Mul(x, gate)", "Add(x, gate)"), ""),
    ],
)
def test_no_squeeze_and_excitation_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    network = text.lifted(tmp_path)
    assert "SqueezeExcite" not in kinds(network) and network.unrecognised
    assert text.reason(tmp_path, "SqueezeExcite").startswith(reason)


def test_a_gate_that_is_an_output_is_not_inside(tmp_path: Path) -> None:
    network = BLOCK.lifted(tmp_path, outputs="y gate")
    assert "SqueezeExcite" not in kinds(network)
    reason = BLOCK.reason(tmp_path, "SqueezeExcite", outputs="y gate")
    assert reason == "its inner value 'gate' is an output of the graph"
