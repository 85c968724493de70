"""Reshapes and Transposes in a row, as nodes and by numpy."""

import itertools
import random

import numpy as np

from onnx2mvit.ir.graph import Node, Value

Move = tuple[int, ...] | list[int]  # a tuple permutes, a list is a shape


def applied(array: np.ndarray, moves: list[Move]) -> np.ndarray:
    for move in moves:
        array = array.reshape(move) if isinstance(move, list) else array.transpose(move)
    return array


def chain(shape: tuple[int, ...], moves: list[Move]) -> list[Node]:
    """The nodes of these moves."""
    value, nodes = Value("x", shape), []
    for number, move in enumerate(moves):
        made = applied(np.empty(value.shape or ()), [move])
        output = Value(f"v{number}", made.shape)
        attrs = {"perm": move} if isinstance(move, tuple) else {}
        op = "Transpose" if attrs else "Reshape"
        nodes.append(Node(op, (value,), (output,), attrs))
        value = output
    return nodes


def shapes(size: int, rank: int) -> list[list[int]]:
    """All shapes of so many axes and elements."""
    divisors = [number for number in range(1, size + 1) if size % number == 0]
    found = itertools.product(divisors, repeat=rank - 1)
    return [[*some, size // int(np.prod(some))] for some in found if size % int(np.prod(some)) == 0]


def random_moves(chance: random.Random, shape: tuple[int, ...]) -> list[Move]:
    moves: list[Move] = []
    size, rank = int(np.prod(shape)), len(shape)
    for _ in range(chance.randint(1, 5)):
        if chance.random() < 0.5:
            rank = chance.randint(1, 4)
            moves.append(chance.choice(shapes(size, rank)))
        else:
            moves.append(tuple(chance.sample(range(rank), rank)))
    return moves
