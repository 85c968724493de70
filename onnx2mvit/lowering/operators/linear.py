"""Products of matrices."""

from __future__ import annotations

import numpy as np

from onnx2mvit.ir.layout import BATCH, Order, plain
from onnx2mvit.lowering.operators.arithmetic import added
from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.lowering.operators.step import Code, MixesBatch, Step
from onnx2mvit.lowering.operators.text import Raw, call, layer
from onnx2mvit.matcher.pattern import require


def product_batch(step: Step) -> int | None:
    """The batch axis of a matrix product; MixesBatch where it would be summed over."""
    found = set()
    ranks = [len(step.shape(index)) for index in range(2)]
    for index, own in enumerate(ranks):
        value = step.value(index)
        batch = None if value.const is not None else step.places[value].batch
        if batch is None:
            continue
        summed = own - 1 if index == 0 else max(own - 2, 0)
        if batch == summed:
            raise MixesBatch("MatMul sums over the images of a batch")
        gone = 1 if ranks[1 - index] == 1 else 0  # the axis that a vector has not
        shift = len(step.output_shape) - own + gone
        found.add(batch + shift - (1 if index == 1 and gone and batch == own - 1 else 0))
    if len(found) > 1:
        raise MixesBatch("the operands of MatMul have the batch on different axes")
    return found.pop() if found else None


@operator("MatMul", 9, 13)
def matmul(step: Step) -> Code:
    """As `Dense` where the second is a constant matrix, else `ops.matmul`."""
    first, second, rank = len(step.shape(0)), len(step.shape(1)), len(step.output_shape)
    weight, batch = step.value(1).const, product_batch(step)
    if weight is not None and second == 2 <= first and step.value(0).const is None:
        order = step.place().order
        if order[-1] != first - 1:
            order = plain(first)
        step.weights["kernel"] = weight
        text = layer("Dense", weight.shape[1], use_bias=False)
        return step.code(f"{text}({step.data(0, order)})", order, batch)
    for index in range(2):
        array = step.value(index).const
        if array is not None and batch is not None and array.ndim == rank:
            require(array.shape[batch] == 1 or batch >= rank - 2, "a constant for every image")
    if first == second and step.shape(0)[:-2] == step.shape(1)[:-2]:
        text, order = _in_their_orders(step)
        if order != plain(rank):
            return step.code(text, order, batch)
    operands = [step.data(index, plain(len(step.shape(index)))) for index in range(2)]
    return step.code(f"ops.matmul({', '.join(operands)})", plain(rank), batch)


def _in_their_orders(step: Step) -> tuple[str, Order]:
    """Two tensors of one rank as they stand; the result takes the order of one of them."""
    rank, pair = len(step.shape()), (step.value(0), step.value(1))
    if any(value.const is not None for value in pair):
        return "", plain(rank)
    orders = [step.places[value].order for value in pair]
    order = orders[0] if orders[0] != plain(rank) else orders[1]
    if order == plain(rank):
        return "", order
    shared = "bhgfe"[: rank - 2]
    first, second, result = (
        "".join((shared + ends)[axis] for axis in axes)
        for ends, axes in zip(("mk", "kn", "mn"), (*orders, order), strict=True)
    )
    operands = f"{step.data(0)}, {step.data(1)}"
    return f'ops.einsum("{first},{second}->{result}", {operands})', order


@operator("Gemm", 11, 13)
def gemm(step: Step) -> Code:
    """alpha · A · B + beta · C, where A and B may be transposed."""
    attrs, order = step.attrs, plain(2)
    if step.value(1).const is not None and (not step.has(2) or step.value(2).const is not None):
        return _dense(step)
    turned = [bool(attrs.get("transA")), bool(attrs.get("transB"))]
    operands = []
    batch: set[int] = set()
    for index, turn in enumerate(turned):
        wanted: Order = (1, 0) if turn else order
        if step.value(index).const is None:
            own = step.place(index).batch
            if own is not None and wanted.index(own) != index:
                raise MixesBatch("Gemm sums over the images of a batch")
            batch |= {index} if own is not None else set()
        operands.append(step.data(index, wanted))
    if len(batch) > 1:
        raise MixesBatch("the operands of Gemm have the batch on different axes")
    text = f"ops.matmul({', '.join(operands)})"
    text = _scaled(text, attrs.get("alpha", 1.0))
    axis = step.result_batch = batch.pop() if batch else None
    if step.has(2):
        addend = _scaled(step.broadcast(2, order), attrs.get("beta", 1.0))
        lengths = tuple(BATCH if at == axis else step.output_shape[at] for at in order)
        text = added(text, addend, lengths, step.lengths(2, order))
    return step.code(text, order, axis)


def _dense(step: Step) -> Code:
    """A Gemm with weights."""
    attrs, wanted = step.attrs, (1, 0) if step.attrs.get("transA") else plain(2)
    step.keep_apart([wanted[1]])
    kernel = step.const(1).T if attrs.get("transB") else step.const(1)
    kernel = step.weights["kernel"] = kernel * np.float32(attrs.get("alpha", 1.0))
    batch = None if step.place().batch is None else 0
    if step.has(2):
        bias, units = step.const(2) * np.float32(attrs.get("beta", 1.0)), kernel.shape[1]
        rows = np.broadcast_to(bias, (step.output_shape[0], units))
        require(bool((rows == rows[0]).all()), "its bias differs from row to row")
        step.weights["bias"] = np.ascontiguousarray(rows[0])
    text = layer("Dense", kernel.shape[1], use_bias=None if step.has(2) else False)
    return step.code(f"{text}({step.data(0, wanted)})", plain(2), batch)


def _scaled(text: str, factor: float) -> str:
    return text if factor == 1.0 else call("ops.multiply", Raw(text), factor)


@operator("Einsum", 12)
def einsum(step: Step) -> Code:
    """As `ops.einsum`; the letters are written in the order in which each operand has its axes."""
    count = len(step.node.inputs)
    terms, result = letters(step)
    batch = {
        term[place.batch]
        for index, term in enumerate(terms)
        if step.value(index).const is None and (place := step.place(index)).batch is not None
    }
    if len(batch) > 1 or not batch <= set(result):
        raise MixesBatch("Einsum mixes the images of a batch")
    written, operands = [], []
    for index in range(count):
        term, array = terms[index], step.value(index).const
        if array is None:
            order = step.place(index).order
            term = "".join(term[axis] for axis in order)
            operands.append(step.data(index))
        else:
            if batch & set(term):
                at = term.index(next(iter(batch)))
                row = array.take(0, axis=at)
                require(bool((array == array.take([0], axis=at)).all()), "a constant differs")
                array, term = row, term[:at] + term[at + 1 :]
            operands.append(step.constant(array))
        written.append(term)
    equation = f"{','.join(written)}->{result}"
    axis = result.index(batch.pop()) if batch else None
    return step.code(call("ops.einsum", equation, *map(Raw, operands)), plain(len(result)), axis)


def letters(step: Step) -> tuple[list[str], str]:
    """The letters of all operands and of the result, without dots."""
    left, arrow, result = step.attrs["equation"].replace(" ", "").partition("->")
    terms = left.split(",")
    require(len(terms) == len(step.node.inputs), "its equation has not as many terms as operands")
    free = [letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if letter not in left]
    dots = max(len(step.shape(i)) - len(t) + 3 if "..." in t else 0 for i, t in enumerate(terms))
    shared = "".join(free[:dots])
    for index, term in enumerate(terms):
        missing = len(step.shape(index)) - len(term) + 3
        terms[index] = term.replace("...", shared[dots - missing :] if missing else "")
        require(len(set(terms[index])) == len(terms[index]), "it takes a diagonal")
    if not arrow:
        everything = "".join(terms)
        single = sorted(x for x in set(everything) - set(shared) if everything.count(x) == 1)
        result = "..." + "".join(single)
    return terms, result.replace("...", shared)
