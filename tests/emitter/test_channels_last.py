"""Images become patches and tokens, and these images, with channels last where they are written."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx2mvit.emitter.channels_last import with_channels_last
from onnx2mvit.ir.graph import Graph
from tests.support.graphs import graph, model, save
from tests.support.moves import Move, applied, chain, random_moves, shapes
from tests.support.written import answers_alike, ops

TO_LAST, TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def text(before: list[int], moves: Sequence[Move | str], last: str = "y = Softmax(r)") -> str:
    """Moves, and operators by their names, of a tensor that something else computes."""
    nodes, value = ["c = Relu(x)"], "c"
    for number, move in enumerate(moves):
        name = "r" if number == len(moves) - 1 else f"m{number}"
        if isinstance(move, tuple):
            nodes.append(f"{name} = Transpose<perm={list(move)}>({value})")
        elif isinstance(move, str):
            nodes.append(f"{name} = {move}({value})")
        else:
            nodes.append(f"s{number} = Constant<value_ints={move}>()")
            nodes.append(f"{name} = Reshape({value}, s{number})")
        value = name
    return f"g (float{before} x) => (float y) {{ {' '.join([*nodes, last])} }}"


def perms(folder: Path, body: str, **weights: Any) -> list[tuple[int, ...]]:
    """The Transposes of what is written, without those of its input and its output."""
    made = with_channels_last(graph(folder, body, **weights))
    return [tuple(node.attrs["perm"]) for node in made if node.op == "Transpose"]


def forms(images: int) -> dict[str, tuple[list[int], Sequence[Move | str], list[Move]]]:
    """What is before, the moves as PyTorch makes them, and the Transposes that are written."""
    image, tokens, rows = [images, 8, 6, 4], [4 * images, 6, 8], [24 * images, 2, 2, 2]
    # As Hugging Face's MobileViT writes it: (B, d, H, W) → (B·P, N, d).
    unfold: list[Move] = [rows, (0, 2, 1, 3), [images, 8, 6, 4], (0, 3, 2, 1), tokens]
    fold: list[Move] = [[images, 4, 6, 8], (0, 3, 2, 1), rows, (0, 2, 1, 3), image]
    # MobileViTv2's: (B, d, H, W) → (B, d, P, N).
    patches: list[Move] = [[images, 8, 3, 2, 2, 2], (0, 1, 3, 5, 2, 4), [images, 8, 4, 6]]
    folded: list[Move] = [[images, 8, 2, 2, 3, 2], (0, 1, 4, 2, 5, 3), image]
    windows: list[Move] = [[images, 8, 3, 2, 2, 2], (0, 2, 4, 3, 5, 1), [6 * images, 4, 8]]
    cut, joined = (0, 2, 4, 1, 3, 5), (0, 3, 1, 4, 2, 5)
    by_rows = (0, 2, 1, 3) if images > 1 else (0, 1, 3, 2, 4)
    return {
        "unfold": (image, unfold, [TO_LAST, cut]),
        "fold": (image, [*unfold, "Softmax", *fold], [TO_LAST, cut, joined, TO_FIRST]),
        "patches": (image, patches, [TO_LAST, cut, TO_FIRST]),
        "patches joined": ([images, 8, 4, 6], folded, [TO_LAST, joined, TO_FIRST]),
        "windows": (image, windows, [TO_LAST, by_rows]),
        "tokens": (image, [[images, 8, 24], (0, 2, 1)], [TO_LAST]),
        "an image of tokens": ([images, 24, 8], [(0, 2, 1), image], [TO_FIRST]),
    }


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("name", forms(1))
def test_whole_pixels_move(tmp_path: Path, name: str, images: int) -> None:
    before, moves, expected = forms(images)[name]
    assert perms(tmp_path, text(before, moves)) == expected
    answers_alike(save(model(text(before, moves)), tmp_path))


IMAGE = [2, 8, 6, 4]


COL2IM = "r = Col2Im<strides=[2,2]>(c, size, block)  y = Softmax(r)"


def col2im(patch: int, step: int, nodes: str = COL2IM) -> tuple[str, dict[str, Any]]:
    places = ((6 - patch) // step + 1) * ((4 - patch) // step + 1)
    body = f"g (float[2,{8 * patch**2},{places}] x) => (float y) {{ c = Relu(x)  {nodes} }}"
    return body, {"size": [6, 4], "block": [patch, patch], "apart": [2, 8 * patch**2, places]}


def test_patches_side_by_side_are_put_together_without_col2im(tmp_path: Path) -> None:
    """By OpenVINO's reference implementation they take 3 % of MobileViTv2's time."""
    nodes = "c = Relu(x)  f = Reshape(c, apart)  " + COL2IM.replace("(c,", "(f,")
    body, weights = col2im(2, 2)
    body = f"g (float[2,8,4,6] x) => (float y) {{ {nodes} }}"
    assert perms(tmp_path, body, **weights) == [TO_LAST, (0, 3, 1, 4, 2, 5), TO_FIRST]
    assert not ops(answers_alike(save(model(body, **weights), tmp_path)))["Col2Im"]


@pytest.mark.parametrize(
    ("patch", "step"),
    [(3, 1), (1, 2), (2, 2)],
    ids=["overlapping", "apart", "channels not whole before"],
)
def test_other_col2ims_stay(tmp_path: Path, patch: int, step: int) -> None:
    body, weights = col2im(patch, step, COL2IM.replace("[2,2]", f"[{step},{step}]"))
    assert perms(tmp_path, body, **weights) == []
    assert ops(answers_alike(save(model(body, **weights), tmp_path)))["Col2Im"] == 1


OTHERS: dict[str, tuple[list[int], list[Move]]] = {
    "heads": ([2, 6, 8], [[2, 6, 4, 2], (0, 2, 1, 3)]),
    "keys": ([2, 6, 8], [[2, 6, 4, 2], (0, 2, 3, 1)]),
    "heads joined": ([2, 4, 6, 2], [(0, 2, 1, 3), [2, 6, 8]]),
    "height and width": (IMAGE, [(0, 1, 3, 2)]),
    "pixel shuffle": (IMAGE, [[2, 2, 2, 2, 6, 4], (0, 1, 4, 2, 5, 3), [2, 2, 12, 8]]),
    "channel shuffle": (IMAGE, [[2, 4, 2, 6, 4], (0, 2, 1, 3, 4), [2, 8, 6, 4]]),
    "patches of channels": (IMAGE, [[2, 8, 3, 2, 2, 2], (0, 2, 4, 1, 3, 5), [2, 6, 32]]),
    "one channel": ([2, 1, 6, 4], [[2, 1, 3, 2, 2, 2], (0, 2, 4, 3, 5, 1), [12, 4, 1]]),
    "last already": (IMAGE, [TO_LAST]),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_moves_no_whole_pixels_stays(tmp_path: Path, name: str) -> None:
    before = graph(tmp_path, text(*OTHERS[name]))
    assert list(with_channels_last(before)) == list(before)


@pytest.mark.parametrize("images", [1, 2])
def test_tokens_of_all_images_may_come_first(tmp_path: Path, images: int) -> None:
    """(B, C, H, W) → (H·W, B, C), as torch.nn.Transformer wants them by default."""
    moves: list[Move] = [[images, 8, 24], (2, 0, 1)]
    answers_alike(save(model(text([images, 8, 6, 4], moves)), tmp_path))


def test_what_is_needed_on_the_way_stays(tmp_path: Path) -> None:
    before, unfold, _ = forms(2)["unfold"]
    body = text(before, unfold, "s = Softmax(m1)  t = Reshape(s, s4)  y = Add(r, t)")
    assert (0, 2, 1, 3) in perms(tmp_path, body)
    answers_alike(save(model(body), tmp_path))


def by_numpy(made: Graph, array: np.ndarray) -> np.ndarray:
    """What moves make of an array."""
    values = {made.inputs[0]: array}
    for node in made:
        move = node.attrs.get("perm", list(node.output.shape or ()))
        (x,) = filter(None, node.inputs[:1])
        values[node.output] = applied(values[x], [move])
    return values[made.outputs[0]]


def test_any_moves_make_the_same(tmp_path: Path) -> None:
    source = graph(tmp_path, text(IMAGE, [TO_LAST])).source
    chance, rewritten = random.Random(3), 0
    for _ in range(3000):
        size = chance.choice((8, 16, 24, 36))
        shape = tuple(chance.choice(shapes(size, 4)))
        moves = random_moves(chance, shape)
        if chance.random() < 0.5:  # so that there is an image in the end as well
            moves.append(chance.choice(shapes(size, 4)))
        nodes = chain(shape, moves)
        value = nodes[0].inputs[0]
        assert value is not None
        before = Graph([value], [nodes[-1].output], source).with_nodes(nodes)
        after = with_channels_last(before)
        array = np.arange(size).reshape(shape)
        assert np.array_equal(by_numpy(after, array), applied(array, moves))
        assert after.outputs[0].shape == before.outputs[0].shape
        rewritten += list(after) != list(before)
    assert rewritten > 100
