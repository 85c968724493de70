"""ScatterND and ScatterElements at places that stand in the file: slice assignment."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import onnx2mvit
from tests.support.graphs import model, save
from tests.support.operators import code, converted, network, reason

BATCH = 3
IMAGES = f"float[{BATCH},8,12,10] x"
WHOLE = slice(None)
ODD = slice(1, None, 2)


def places(*index: slice | list[int], size: tuple[int, int] = (12, 10)) -> np.ndarray[Any, Any]:
    """ScatterND's indices for `x[index] = …`, as exporters compute them for a slice each."""
    axes = zip((BATCH, 8, *size), index, strict=False)
    grid = np.meshgrid(*(np.arange(length)[part] for length, part in axes), indexing="ij")
    return np.stack(grid, axis=-1)


def test_slice_assignment_is_written_as_one_and_answers_right(tmp_path: Path) -> None:
    nodes = """
        a = MaxPool<kernel_shape=[2, 2], strides=[2, 2]>(x)
        corners = ScatterND(x, odd, a)
        first, second = Split<axis=1, num_outputs=2>(corners)
        listed = ScatterND(corners, picked, first)
        left = ScatterND(listed, border, zeros)
        drawn = ScatterND(left, border, ramp)
        filled = ScatterND(empty, half, second)
        summed = ScatterElements<axis=1, reduction="add">(filled, channels, second)
        y = Add(summed, drawn)
    """
    weights: dict[str, Any] = {
        "odd": places(WHOLE, WHOLE, ODD, ODD),
        "picked": places(WHOLE, [5, 0, 3, 7]),
        "border": places(WHOLE, WHOLE, WHOLE, slice(1)),
        "half": places(WHOLE, slice(4, None)),
        "zeros": np.zeros((BATCH, 8, 12, 1)),
        "ramp": np.broadcast_to(np.arange(12.0)[:, None], (BATCH, 8, 12, 1)),
        "empty": np.ones((BATCH, 8, 12, 10)),
        "channels": np.broadcast_to(np.array([6, 1, 0, 3])[:, None, None], (BATCH, 4, 12, 10)),
    }
    made = converted(
        nodes, tmp_path, image=IMAGES, outputs="corners listed left filled y", **weights
    )
    for part in (":, 1::2, 1::2, :", ":, :, :, [5, 0, 3, 7]", ":, :, :1, :", ":, 4:, :, :"):
        assert f"np.s_[{part}]" in made.lines


def test_steps_and_borders_hold_for_every_size_and_other_rows_for_one(
    tmp_path: Path,
) -> None:
    def assignment(index: slice, size: tuple[int, int]) -> tuple[list[str], bool]:
        image = f"float[N,8,{size[0]},{size[1]}] x"
        nodes = "a = Neg(x) b = Slice(a, from, to, rows, by) y = ScatterND(x, i, b)"
        start, stop, step = index.indices(size[0])
        cut = {"from": [start], "to": [stop], "rows": [2], "by": [step]}
        weights: dict[str, Any] = {**cut, "i": places(WHOLE, WHOLE, index, size=size)}
        found = network(nodes, tmp_path, image=image, **weights)
        return code(nodes, tmp_path, image=image, **weights)[2:], found.fixed_by is None

    steps = ["assign($1, np.s_[:, 1::2, :, :], $0)"]
    assert assignment(ODD, (12, 10)) == assignment(ODD, (20, 14)) == (steps, True)
    border = ["assign($1, np.s_[:, :1, :, :], $0)"]
    assert assignment(slice(1), (12, 10)) == assignment(slice(1), (20, 14)) == (border, True)
    rest = ["assign($1, np.s_[:, 8:, :, :], $0)"]
    assert assignment(slice(8, None), (12, 10)) == (rest, False)


def test_what_is_no_list_of_places_for_each_axis_is_refused(tmp_path: Path) -> None:
    def how(i: np.ndarray[Any, Any]) -> dict[str, Any]:
        ones = np.ones((*i.shape[:-1], *(BATCH, 8, 12, 10)[i.shape[-1] :]))
        return {"image": IMAGES, "i": i, "ones": ones}

    nodes = "y = ScatterND(x, i, ones)"
    twice, diagonal = places(WHOLE, [2, 5, 2]), np.stack([np.arange(BATCH)] * 2, axis=-1)
    assert reason(nodes, tmp_path, **how(twice)) == "it writes to one place several times"
    expected = "its indices are not a list of places for each axis"
    assert reason(nodes, tmp_path, **how(diagonal)) == expected
    # What picks images holds for the batch of the file.
    assert network(nodes, tmp_path, **how(places(slice(2)))).batch == BATCH


@pytest.mark.parametrize("rows", [ODD, slice(1)])
def test_it_is_for_images_of_any_size(tmp_path: Path, rows: slice) -> None:
    start, stop, step = rows.start or 0, rows.stop or 2**62, rows.step or 1
    weights: dict[str, Any] = {"one": np.eye(8)[:, :, None, None], "i": places(WHOLE, WHOLE, rows)}
    weights |= {"from": [start], "to": [stop], "rows": [2], "by": [step]}
    file = save(
        model(
            "g (float[N,8,12,10] x) => (float[N,8,12,10] y) { "
            "a = Conv(x, one) b = Slice(a, from, to, rows, by) n = Neg(b) y = ScatterND(a, i, n) }",
            **weights,
        ),
        tmp_path,
    )
    made = onnx2mvit.convert(file, tmp_path, verify=False, image_size="any").model
    for size in ((12, 10), (33, 15)):
        right = np.random.default_rng(0).normal(size=(2, *size, 8)).astype("float32")
        answer = keras.ops.convert_to_numpy(made(right))
        right[:, rows] *= -1
        np.testing.assert_allclose(answer, right, rtol=1e-6)
