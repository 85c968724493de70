"""Mutated files are read or refused; `make fuzz` does the same for an hour, guided by coverage."""

import random
from functools import cache
from pathlib import Path

import pytest

from onnx2mvit.emitter.emit import unformatted
from onnx2mvit.errors import Onnx2mvitError
from onnx2mvit.lifter import lift
from onnx2mvit.lowering import lower
from onnx2mvit.reader import read
from tests.fuzz.mutate import mutated
from tests.fuzz.seeds import seeds as every_seed

seeds = cache(every_seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_a_mutated_file_is_read_or_refused_in_one_line(seed: int, tmp_path: Path) -> None:
    rng, current = random.Random(seed), tmp_path / "mutated.onnx"
    answered = refused = 0
    for _ in range(50):
        data = mutated(rng.choice(seeds()), rng, seeds())
        assert data is not None
        current.write_bytes(data)
        try:
            network = lower(lift(read(current)))
            if not network.refused:
                unformatted(network, "net", "test")
            answered += 1
        except Onnx2mvitError as error:
            assert "\n" not in str(error) and len(str(error)) <= 2000
            refused += 1
    assert answered and refused
