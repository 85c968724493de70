"""`Rearrange`: chains of Reshape and Transpose by what they do, in einops's notation."""

import random
from pathlib import Path

import numpy as np
import pytest

from onnx2mvit.matcher import Expr, Ops, Var, p
from onnx2mvit.matcher.rearrange import Notation, digits_of
from tests.support.moves import Move, applied, chain, random_moves, shapes
from tests.support.sought import failure, held, small

UNFOLD = "b d (r p) (c q) -> (b p q) (r c) d"


def test_digits_are_equal_exactly_where_elements_move_alike() -> None:
    chance, alike, different = random.Random(1), 0, 0
    for size in (8, 12, 16, 36):
        found: dict[tuple[tuple[int, int], ...], bytes] = {}
        for _ in range(400):
            shape = tuple(chance.choice(shapes(size, chance.randint(1, 4))))
            moves = random_moves(chance, shape)
            digits = digits_of(chain(shape, moves))
            order = applied(np.arange(size).reshape(shape), moves).reshape(-1).tobytes()
            if digits is None:
                continue
            before = found.setdefault(tuple(digits), order)
            assert before == order, (shape, moves)
            alike += before is not order
        assert len(set(found.values())) == len(found)
        different += len(found)
    assert alike > 300 and different > 50


def einops(array: np.ndarray, notation: str, lengths: dict[str, int]) -> np.ndarray:
    """The same by numpy."""
    read = Notation(notation)
    apart = array.reshape([lengths[name] for name in read.names])
    after = [name for group in read.after for name in group]
    moved = apart.transpose([read.names.index(name) for name in after])
    return moved.reshape([int(np.prod([lengths[name] for name in group])) for group in read.after])


NOTATIONS = (
    UNFOLD,
    "b d (r p) (c q) -> b d (p q) (r c)",
    "b t (h k) -> b h t k",
    "b t (h k) -> b h k t",
    "b h t k -> b t (h k)",
    "b d h w -> b (h w) d",
    "a b -> b 1 a",
)


@pytest.mark.parametrize("notation", NOTATIONS)
def test_lengths_that_are_found_do_what_the_chain_does(notation: str) -> None:
    """With sizes that are equal, or 1, several may; each of them must."""
    chance, read, matched = random.Random(2), Notation(notation), 0
    for _ in range(300):
        lengths = {name: chance.choice((1, 2, 2, 3, 4)) for name in read.names}
        before = tuple(int(np.prod([lengths[n] for n in group])) for group in read.before)
        after = [int(np.prod([lengths[name] for name in group])) for group in read.after]
        moves = random_moves(chance, before)
        if chance.random() < 0.7:  # the very chain, cut where the names end
            order = [read.names.index(name) for group in read.after for name in group]
            moves = [[lengths[name] for name in read.names], tuple(order)]
        moves.append(after)
        array = np.arange(int(np.prod(before))).reshape(before)
        wanted = applied(array, moves)
        nodes = chain(before, moves)
        solutions = list(read.solutions(nodes, {}))
        matched += bool(solutions)
        for solution in solutions:
            assert np.array_equal(einops(array, notation, solution), wanted)
        written = any(node.op == "Transpose" for node in nodes) and digits_of(nodes) is not None
        same = np.array_equal(einops(array, notation, lengths), wanted)
        assert (lengths in solutions) is (same and written)
    assert matched > 150


ROWS: list[Move] = [[2 * 3 * 2, 2, 2, 2], (0, 2, 1, 3), [2, 3, 4, 4], (0, 3, 2, 1), [8, 4, 3]]
AT_ONCE: list[Move] = [[2, 3, 2, 2, 2, 2], (0, 3, 5, 2, 4, 1), [8, 4, 3]]
FINER: list[Move] = [[6, 4, 4], [6, 2, 2, 4], (0, 2, 1, 3), [2, 3, 2, 2, 2, 2],
                     (0, 2, 5, 3, 4, 1), [8, 4, 3]]  # fmt: skip


@pytest.mark.parametrize("moves", [ROWS, AT_ONCE, FINER], ids=["rows", "at once", "finer"])
def test_it_does_not_matter_how_a_chain_is_cut(moves: list[Move]) -> None:
    (found,) = Notation(UNFOLD).solutions(chain((2, 3, 4, 4), moves), {})
    assert found == {"b": 2, "d": 3, "r": 2, "p": 2, "c": 2, "q": 2}


@pytest.mark.parametrize(
    "order",
    [
        (0, 5, 3, 2, 4, 1),  # the pixels of a patch by columns
        (0, 3, 5, 4, 2, 1),  # the patches by columns
        (3, 5, 0, 2, 4, 1),  # the images within the pixels
        (0, 2, 4, 3, 5, 1),  # patches for pixels
        (0, 3, 5, 1, 2, 4),  # channels before patches, of the same shape as 3 = 3
    ],
)
def test_another_order_of_equal_lengths_is_another_thing(order: tuple[int, ...]) -> None:
    """p = q = r = c, so shapes tell nothing."""
    moves: list[Move] = [[2, 4, 2, 2, 2, 2], order, [8, 4, 4]]
    assert not list(Notation(UNFOLD).solutions(chain((2, 4, 4, 4), moves), {}))


def test_a_lone_reshape_is_no_notation_that_moves_axes() -> None:
    heads = Notation("b t (h k) -> b h t k")
    lone, moved = chain((2, 3, 4), [[2, 1, 3, 4]]), chain((2, 3, 4), [[2, 3, 1, 4], (0, 2, 1, 3)])
    assert not list(heads.solutions(lone, {}))
    assert [found["h"] for found in heads.solutions(moved, {})] == [1]
    (found,) = Notation("b t (h k) -> b t h k").solutions(chain((2, 3, 4), [[2, 3, 2, 2]]), {})
    assert found == {"b": 2, "t": 3, "h": 2, "k": 2}


def test_what_cuts_across_an_axis_has_no_digits() -> None:
    assert digits_of(chain((4, 3), [(1, 0), [2, 6], (1, 0)])) is None
    assert digits_of(chain((4, 0), [(1, 0)])) is None


@pytest.mark.parametrize(
    "notation", ["a b", "a b -> a", "a a -> a a", "a (b -> a b", "a b -> b a c", "a -> a 2"]
)
def test_what_is_no_notation_is_refused(notation: str) -> None:
    with pytest.raises(ValueError, match=r"written as|each name"):
        Ops().Rearrange(notation, Var("x"))


def test_a_length_of_no_axis_is_refused() -> None:
    with pytest.raises(ValueError, match="'a b -> b a' has no c"):
        Ops().Rearrange("a b -> b a", Var("x"), c=3)


TOKENS = "s = Sin(x) r = Reshape(s, shape) t = Transpose<perm=[0,2,1]>(r)"


def tokens(op: Ops, x: Var) -> Expr:
    return op.Rearrange("b d h w -> b (h w) d", op.Sin(x), role="tokens")


def test_the_nodes_of_the_chain_are_the_matchs(tmp_path: Path) -> None:
    match = held(small(tmp_path, TOKENS.replace("t =", "y ="), shape=[1, 4, 36]), tokens)
    assert match and [node.op for node in match.nodes] == ["Transpose", "Reshape", "Sin"]
    assert match.tokens is match.root


def test_a_neighbours_reshape_stays_where_it_is(tmp_path: Path) -> None:
    nodes = f"n = Reshape(x, apart) {TOKENS.replace('Sin(x)', 'Reshape(n, back)')} y = Sin(t)"
    graph = small(tmp_path, nodes.replace("Reshape(n, back)", "Cos(n)"), shape=[1, 4, 36],
                  apart=[1, 4, 4, 9])  # fmt: skip

    def form(op: Ops, x: Var) -> Expr:
        return op.Sin(op.Rearrange("b d h w -> b (h w) d", x))

    match = held(graph, form)
    assert match and [node.op for node in match.nodes] == ["Sin", "Transpose", "Reshape"]
    graph = small(tmp_path, "n = Reshape(x, apart) r = Reshape(n, shape) "
                  "t = Transpose<perm=[0,2,1]>(r) y = Sin(t) w = Cos(n)", "y w",
                  shape=[1, 4, 36], apart=[1, 4, 4, 9])  # fmt: skip
    match = held(graph, form)
    assert match and "n" not in [node.output.name for node in match.nodes]


def test_what_is_read_inside_of_a_chain_is_a_leak(tmp_path: Path) -> None:
    nodes = TOKENS.replace("t =", "y =") + " w = Cos(r)"
    graph = small(tmp_path, nodes, "y w", shape=[1, 4, 36])
    assert not held(graph, tokens)
    assert "used outside of it" in failure(graph, tokens).reason


def test_names_and_variables_have_one_length_in_all_of_a_pattern(tmp_path: Path) -> None:
    def form(op: Ops, x: Var) -> Expr:
        y = op.Rearrange("b d (r p) (c q) -> b d r c p q", x, p=p.size, q=p.size)
        return op.Rearrange("b d r c p q -> b d (r p) (c q)", op.Sin(y), p=p.size)

    nodes = (
        "a = Reshape(x, apart) b = Transpose<perm=[0,1,2,4,3,5]>(a) s = Sin(b) "
        "c = Transpose<perm=[0,1,2,4,3,5]>(s) y = Reshape(c, image)"
    )
    of_two, of_both, image = [1, 4, 3, 2, 3, 2], [1, 4, 3, 2, 2, 3], [1, 4, 6, 6]
    match = held(small(tmp_path, nodes, apart=of_two, image=image), form)
    assert match and match.params == {"size": 2} and match.size == 2
    graph = small(tmp_path, nodes, apart=of_both, image=image)
    assert not held(graph, form)
    assert failure(graph, form).reason == (
        "the size of its axis q is 3, not 2 as that of the axis p"
    )


@pytest.mark.parametrize(("size", "holds"), [(2, True), (3, False)])
def test_a_length_may_be_given(tmp_path: Path, size: int, holds: bool) -> None:
    graph = small(
        tmp_path,
        "a = Reshape(x, s) y = Transpose<perm=[0,1,2,4,3,5]>(a)",
        s=[1, 4, 3, 2, 3, 2],
    )

    def form(op: Ops, x: Var) -> Expr:
        return op.Rearrange("b d (r p) (c q) -> b d r c p q", x, p=size)

    assert bool(held(graph, form)) is holds


def test_another_operator_is_told(tmp_path: Path) -> None:
    graph = small(tmp_path, "y = Sin(x)")
    assert failure(graph, tokens).reason == "tokens (Rearrange) expected, found <Sin>"
