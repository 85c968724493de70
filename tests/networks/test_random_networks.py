"""Random networks are converted right; `python -m tests.support.random_networks` does more."""

from collections.abc import Iterable
from pathlib import Path

import onnx
import pytest

import onnx2mvit
from onnx2mvit.builder import weights
from onnx2mvit.ir.block import Block
from tests.support.random_graphs import Form
from tests.support.random_networks import EVERY_SIZE, HARMLESS, conversions, made

SEEDS = (4, 5, 7, 9, 269)  # the last: a mask of one of several outputs
MORE = [pytest.param(seed, marks=pytest.mark.slow) for seed in range(40) if seed not in SEEDS]


@pytest.mark.parametrize("seed", [*SEEDS, *MORE])
def test_at_another_size_it_is_right_or_refused(seed: int, tmp_path: Path) -> None:
    for found in conversions(seed, tmp_path):
        assert found.what in HARMLESS, found
        assert "\n" not in found.why


def test_the_same_seed_is_the_same_network_and_others_are_others() -> None:
    files = [made(seed, EVERY_SIZE).model().SerializeToString() for seed in (1, 1, 2)]
    assert files[0] == files[1] != files[2]


def test_what_is_of_one_size_is_so_in_one_form_alone(tmp_path: Path) -> None:
    """The two forms differ: lengths are numbers in one, and computed in the other."""
    network = made(1, Form(one_size=True, batch=1))
    operators = {node.op_type for node in network.nodes}
    assert network.of_size and "Shape" not in operators
    assert "Shape" in {node.op_type for node in made(1, EVERY_SIZE).nodes}


def test_they_hold_what_patterns_know_and_what_none_does(tmp_path: Path) -> None:
    found: set[str] = set()
    for seed in range(40):
        network = made(seed, Form(one_size=True, batch=2))
        path = tmp_path / f"{seed}.onnx"
        onnx.save(network.model(), path)
        rewritten = onnx2mvit.inspect(path)
        assert not rewritten.refused
        found |= {block.kind for top in rewritten.blocks for block in top.walk()}
    assert {"InvertedResidual", "SqueezeExcite", "BasicBlock", "Bottleneck"} <= found
    assert {"TransformerLayer", "ConvBnAct", "Classifier", "Sin", "Resize", "Slice"} <= found


def test_a_wrong_weight_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison can fail: one kernel of the converted model is another."""
    right = weights.block_weights

    def wrong(blocks: Iterable[Block]) -> weights.Arrays:
        arrays = right(blocks)
        name = next(name for name in arrays if name.endswith("kernel"))
        arrays[name] = arrays[name] * 1.01
        return arrays

    monkeypatch.setattr("onnx2mvit.api.block_weights", wrong)
    assert {found.what for found in conversions(5, tmp_path)} == {"mismatched"}
