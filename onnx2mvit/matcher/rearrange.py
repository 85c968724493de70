"""What chains of Reshape and Transpose do to axes, and einops's notation for it.

Both are brought to one form, digits: a place in the output, counted row by row, is written as a
number whose digits each have a length and a stride in the input. With lengths of 1 left out and
neighbours joined where one goes on as the other, two chains move the elements alike if and only if
their digits are equal, however they are cut into nodes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from onnx2mvit.ir.graph import Node

MOVES = ("Reshape", "Transpose")
LONGEST = 12  # of them in a chain

Shape = tuple[int, ...]
Moves = tuple[tuple[tuple[int, ...] | None, Shape | None], ...]
Digits = list[tuple[int, int]]  # lengths and strides, the outermost first


class Notation:
    """An arrangement in einops's notation, as "b d (r p) (c q) -> (b p q) (r c) d".

    Every name is the length of an axis and stands once on both sides; "1" is an axis of length 1.

    Raises:
        ValueError: it is none.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.before, self.after = _sides(text)
        self.names = tuple(name for group in self.before for name in group)
        after = [name for group in self.after for name in group]
        if len(set(after)) < len(after) or sorted(self.names) != sorted(after):
            raise ValueError(f"{text!r}: each name must stand once on both sides")
        self.moves = list(self.names) != after

    def digits(self, lengths: Mapping[str, int]) -> Digits:
        """What it does to the elements."""
        strides: dict[str, int] = {}
        stride = 1
        for name in reversed(self.names):
            strides[name] = stride
            stride *= lengths[name]
        names = [name for group in self.after for name in group]
        return _joined((lengths[name], strides[name]) for name in names)

    def fits(self, last: Node, first: Node) -> bool:
        """True if what these nodes make of their input has as many axes before and after."""
        before, after = first.inputs[0], last.output
        ranks = len(before.shape or ()) if before is not None else 0, len(after.shape or ())
        return ranks == (len(self.before), len(self.after))

    def solutions(
        self, chain: Sequence[Node], known: Mapping[str, int]
    ) -> Sequence[dict[str, int]]:
        """The lengths of its names with which it is what these nodes do, in their order.

        A notation that moves axes is not what a lone Reshape does: where the axes that it moves
        happen to have one element, it would be any Reshape to that shape.
        """
        if not self.fits(chain[-1], chain[0]):
            return ()
        if self.moves and all(node.op == "Reshape" for node in chain):
            return ()
        return _solutions(self, *_moves(chain), tuple(known.items()))


@lru_cache(maxsize=4096)  # blocks repeat
def _solutions(
    notation: Notation, before: Shape | None, moves: Moves, known: tuple[tuple[str, int], ...]
) -> tuple[dict[str, int], ...]:
    moved = _digits(before, moves)
    if before is None or moved is None:
        return ()
    _, after = moves[-1]
    assert after is not None
    sides = [*zip(notation.before, before, strict=True), *zip(notation.after, after, strict=True)]
    found = _lengths(sides, dict(known))
    return tuple(lengths for lengths in found if notation.digits(lengths) == moved)


def digits_of(chain: Sequence[Node]) -> Digits | None:
    """What Reshapes and Transposes do, one after the other.

    None where it cannot be written as digits: an axis is cut across, or has no element.
    """
    return _digits(*_moves(chain))


def _moves(chain: Sequence[Node]) -> tuple[Shape | None, Moves]:
    """The shape before, and for each node how it permutes axes, if it does, and its shape."""
    first = chain[0].inputs[0]
    return first.shape if first is not None else None, tuple(
        (tuple(node.attrs["perm"]) if node.op == "Transpose" else None, node.output.shape)
        for node in chain
    )


def _digits(shape: Shape | None, moves: Moves) -> Digits | None:
    if shape is None or 0 in shape:
        return None
    digits = _joined([(math.prod(shape), 1)])
    for perm, after in moves:
        if perm is not None:
            axes = _cut(digits, shape)
            if axes is None:
                return None
            digits = _joined(digit for axis in perm for digit in axes[axis])
        if after is None:
            return None
        shape = after
    return digits


def _joined(digits: Iterable[tuple[int, int]]) -> Digits:
    found: Digits = []
    for length, stride in digits:
        if length == 1:
            continue
        if found and found[-1][1] == length * stride:
            length *= found.pop()[0]
        found.append((length, stride))
    return found


def _cut(digits: Digits, shape: Shape) -> list[Digits] | None:
    """The digits of each axis; None where an axis ends within a digit that it does not divide."""
    axes: list[Digits] = []
    rest = digits[::-1]
    for length in shape:
        axis: Digits = []
        while length > 1:
            size, stride = rest.pop()
            if length % size == 0:
                axis.append((size, stride))
                length //= size
            elif size % length == 0:
                inner = size // length
                axis.append((length, stride * inner))
                rest.append((inner, stride))
                length = 1
            else:
                return None
        axes.append(axis)
    return axes


def _lengths(
    sides: list[tuple[tuple[str, ...], int]], known: dict[str, int]
) -> Iterator[dict[str, int]]:
    """All lengths with which each group has its product, those that are most determined first."""
    if not sides:
        yield known
        return
    first = min(sides, key=lambda side: sum(name not in known for name in side[0]))
    names, length = first
    rest, divisible = divmod(length, math.prod(known.get(name, 1) for name in names))
    unknown = [name for name in names if name not in known]
    if divisible:
        return
    if len(unknown) < 2:
        if not unknown and rest != 1:
            return
        others = [side for side in sides if side is not first]
        yield from _lengths(others, known | dict.fromkeys(unknown, rest))
        return
    for divisor in _divisors(rest):
        yield from _lengths(sides, known | {unknown[0]: divisor})


def _divisors(number: int) -> list[int]:
    small = [low for low in range(1, math.isqrt(number) + 1) if number % low == 0]
    return [*small, *(number // low for low in reversed(small) if low * low != number)]


def _sides(text: str) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[str, ...], ...]]:
    axis = r"(?:\((?:\s*[A-Za-z_]\w*)*\s*\)|[A-Za-z_]\w*|1)"
    if not re.fullmatch(rf"\s*{axis}(?:\s+{axis})*\s*->\s*{axis}(?:\s+{axis})*\s*", text):
        raise ValueError(f'{text!r} is not written as "b (h d) -> b h d"')
    before, after = (
        tuple(tuple(re.findall(r"[A-Za-z_]\w*", group)) for group in re.findall(axis, side))
        for side in text.split("->")
    )
    return before, after
