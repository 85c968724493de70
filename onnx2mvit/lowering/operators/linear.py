"""Products of matrices."""

from __future__ import annotations

from string import ascii_lowercase

import numpy as np

from onnx2mvit.ir.code import KerasCode
from onnx2mvit.ir.expr import KerasExpr, call, layer
from onnx2mvit.ir.layout import BATCH, Order, plain
from onnx2mvit.lowering.operators.arithmetic import added
from onnx2mvit.lowering.operators.context import OpContext
from onnx2mvit.lowering.operators.operands import MixesBatch
from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.matcher.rooted import DIFFERS, alike, require


def product_batch(op: OpContext) -> int | None:
    """The batch axis of a matrix product; MixesBatch where it would be summed over."""
    found = {}
    ranks = [len(op.shape(index)) for index in range(2)]
    for index, own in enumerate(ranks):
        value = op.value(index)
        batch = None if value.const is not None else op.layouts[value].batch
        if batch is None:
            continue
        summed = own - 1 if index == 0 else max(own - 2, 0)
        if batch == summed:
            raise MixesBatch("MatMul sums over the images of a batch")
        gone = 1 if ranks[1 - index] == 1 else 0  # the axis that a vector has not
        shift = len(op.output_shape) - own + gone
        found[index] = batch + shift - (1 if index == 1 and gone and batch == own - 1 else 0)
    return op.shared_batch(found)


@operator("MatMul", 9, 13)
def matmul(op: OpContext) -> KerasCode:
    """As `Dense` where the second is a constant matrix, else `ops.matmul`."""
    first, second, rank = len(op.shape(0)), len(op.shape(1)), len(op.output_shape)
    weight, batch = op.value(1).const, product_batch(op)
    if weight is not None and second == 2 <= first and op.value(0).const is None:
        order = op.layout().order
        if order[-1] != first - 1:
            order = plain(first)
        op.has_lengths_of([first - 1])
        op.weights["kernel"] = weight
        dense = layer("Dense", weight.shape[1], use_bias=False)
        return op.code(dense(op.data(0, order)), order, batch)
    for index in range(2):
        array = op.value(index).const
        if array is None:
            continue
        if batch is not None and array.ndim == rank:
            require(array.shape[batch] == 1 or batch >= rank - 2, "a constant for every image")
        op.one_size |= any(map(op.is_length, array.shape))
    if first == second and op.shape(0)[:-2] == op.shape(1)[:-2]:
        found = _in_their_orders(op)
        if found is not None:
            return op.code(*found, batch)
    operands = [op.data(index, plain(len(op.shape(index)))) for index in range(2)]
    return op.code(call("ops.matmul", *operands), plain(rank), batch)


def _in_their_orders(op: OpContext) -> tuple[KerasExpr, Order] | None:
    """Two tensors of one rank as they stand; the result takes the order of one of them.

    None where both are in the file's.
    """
    rank, pair = len(op.shape()), (op.value(0), op.value(1))
    if any(value.const is not None for value in pair):
        return None
    orders = [op.layouts[value].order for value in pair]
    order = orders[0] if orders[0] != plain(rank) else orders[1]
    if order == plain(rank):
        return None
    shared = "bhgfe"[: rank - 2]
    first, second, result = (
        "".join((shared + ends)[axis] for axis in axes)
        for ends, axes in zip(("mk", "kn", "mn"), (*orders, order), strict=True)
    )
    equation = f"{first},{second}->{result}"
    return call("ops.einsum", equation, op.data(0), op.data(1)), order


@operator("Gemm", 11, 13)
def gemm(op: OpContext) -> KerasCode:
    """alpha · A · B + beta · C, where A and B may be transposed."""
    attrs, order = op.attrs, plain(2)
    if op.value(1).const is not None and (not op.has(2) or op.value(2).const is not None):
        return _dense(op)
    turned = [bool(attrs.get("transA")), bool(attrs.get("transB"))]
    operands = []
    batch: set[int] = set()
    for index, turn in enumerate(turned):
        wanted: Order = (1, 0) if turn else order
        if op.value(index).const is None:
            own = op.layout(index).batch
            if own is not None and wanted.index(own) != index:
                raise MixesBatch("Gemm sums over the images of a batch")
            batch |= {index} if own is not None else set()
        operands.append(op.data(index, wanted))
    if len(batch) > 1:
        raise MixesBatch("the operands of Gemm have the batch on different axes")
    x = _scaled(call("ops.matmul", *operands), attrs.get("alpha", 1.0))
    axis = op.result_batch = batch.pop() if batch else None
    if op.has(2):
        addend = _scaled(op.broadcast(2, order), attrs.get("beta", 1.0))
        lengths = tuple(BATCH if at == axis else op.output_shape[at] for at in order)
        x = added(x, addend, lengths, op.lengths(2, order))
    return op.code(x, order, axis)


def _dense(op: OpContext) -> KerasCode:
    """A Gemm with weights."""
    attrs, wanted = op.attrs, (1, 0) if op.attrs.get("transA") else plain(2)
    op.forbid_batch_reduction([wanted[1]])
    op.has_lengths_of([wanted[1]])
    kernel = op.const(1).T if attrs.get("transB") else op.const(1)
    kernel = op.weights["kernel"] = kernel * np.float32(attrs.get("alpha", 1.0))
    batch = None if op.layout().batch is None else 0
    if op.has(2):
        bias, units = op.const(2) * np.float32(attrs.get("beta", 1.0)), kernel.shape[1]
        rows = np.broadcast_to(bias, (op.output_shape[0], units))
        require(alike(rows), "its bias differs from row to row")
        op.weights["bias"] = np.ascontiguousarray(rows[0])
    dense = layer("Dense", kernel.shape[1], use_bias=None if op.has(2) else False)
    return op.code(dense(op.data(0, wanted)), plain(2), batch)


def _scaled(x: KerasExpr, factor: float) -> KerasExpr:
    return x if factor == 1.0 else call("ops.multiply", x, factor)


@operator("Einsum", 12)
def einsum(op: OpContext) -> KerasCode:
    """As `ops.einsum`; the letters are written in the order in which each operand has its axes."""
    count = len(op.node.inputs)
    terms, result = letters(op)
    batch = {
        term[layout.batch]
        for index, term in enumerate(terms)
        if op.value(index).const is None and (layout := op.layout(index)).batch is not None
    }
    if len(batch) > 1 or not batch <= set(result):
        raise MixesBatch("Einsum mixes the images of a batch")
    written, operands = [], []
    for index in range(count):
        term, array = terms[index], op.value(index).const
        if array is None:
            order = op.layout(index).order
            term = "".join(term[axis] for axis in order)
            operands.append(op.data(index))
        else:
            if batch & set(term):
                at = term.index(next(iter(batch)))
                require(alike(array, at), DIFFERS)
                array, term = array.take(0, axis=at), term[:at] + term[at + 1 :]
            op.one_size |= any(map(op.is_length, array.shape))
            operands.append(op.constant(array))
        written.append(term)
    equation = _lower_case(f"{','.join(written)}->{result}")
    axis = result.index(batch.pop()) if batch else None
    return op.code(call("ops.einsum", equation, *operands), plain(len(result)), axis)


def _lower_case(equation: str) -> str:
    """The same equation in small letters, which are all that Keras knows."""
    given = list(dict.fromkeys(filter(str.isalpha, equation)))
    require(len(given) <= len(ascii_lowercase), "its equation has more letters than Keras knows")
    names = {letter: letter for letter in given if letter.islower()}
    for letter in given:
        free = (each for each in (letter.lower(), *ascii_lowercase) if each not in names.values())
        names.setdefault(letter, next(free, letter))
    return "".join(names.get(character, character) for character in equation)


def letters(op: OpContext) -> tuple[list[str], str]:
    """The letters of all operands and of the result, without dots."""
    left, arrow, result = op.attrs["equation"].replace(" ", "").partition("->")
    terms = left.split(",")
    require(len(terms) == len(op.node.inputs), "its equation has not as many terms as operands")
    free = [letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if letter not in left]
    dots = max(len(op.shape(i)) - len(t) + 3 if "..." in t else 0 for i, t in enumerate(terms))
    shared = "".join(free[:dots])
    for index, term in enumerate(terms):
        missing = len(op.shape(index)) - len(term) + 3
        terms[index] = term.replace("...", shared[dots - missing :] if missing else "")
        require(len(set(terms[index])) == len(terms[index]), "it takes a diagonal")
    if not arrow:
        everything = "".join(terms)
        single = sorted(x for x in set(everything) - set(shared) if everything.count(x) == 1)
        result = "..." + "".join(single)
    return terms, result.replace("...", shared)
