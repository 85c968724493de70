"""Random networks are converted right; `python -m tests.support.random_networks` does more."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnx2mvit.builder import weights
from onnx2mvit.ir.block import Block
from onnx2mvit.lifter import lift
from onnx2mvit.lowering import lower
from onnx2mvit.reader import read
from tests.support.random_networks import network, verdict


@pytest.mark.parametrize(
    "seed", [*range(10), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(10, 40))]
)
def test_a_random_network_is_converted_and_proven(tmp_path: Path, seed: int) -> None:
    assert verdict(seed, tmp_path) == "passed"


def test_the_same_seed_is_the_same_network_and_others_are_others() -> None:
    made = [network(seed).SerializeToString() for seed in (1, 1, 2)]
    assert made[0] == made[1] != made[2]


def test_they_hold_what_patterns_know_and_what_none_does(tmp_path: Path) -> None:
    found: set[str] = set()
    for seed in range(60):
        path = tmp_path / f"{seed}.onnx"
        onnx.save(network(seed), path)
        rewritten = lower(lift(read(path)))
        assert not rewritten.refused
        found |= {block.kind for top in rewritten.blocks for block in top.walk()}
    assert {"InvertedResidual", "SqueezeExcite", "BasicBlock", "Bottleneck"} <= found
    assert {"TransformerLayer", "ConvBnAct", "Classifier", "Sin", "Resize"} <= found


def test_a_wrong_weight_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison can fail: one number of the converted model is another."""
    right = weights.block_weights

    def wrong(blocks: Iterable[Block]) -> weights.Arrays:
        arrays = right(blocks)
        name = next(name for name in arrays if name.endswith("kernel"))
        arrays[name] = arrays[name] * np.float32(1.01)
        return arrays

    monkeypatch.setattr("onnx2mvit.api.block_weights", wrong)
    assert verdict(0, tmp_path) == "failed"
