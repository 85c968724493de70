"""Rules for torch's `nn.MultiheadAttention`, whose tensors have the sequence before the batch.

All of it is brought to images first: what turns a tensor is handed on, past whatever treats each
token alike, until it meets what turns it back or the heads, which any move of axes may divide.
"""

from __future__ import annotations

from typing import Any

from onnx2mvit.ir.graph import Graph, Value
from onnx2mvit.matcher import (
    Builder,
    Expr,
    Match,
    Ops,
    Rule,
    Var,
    alike,
    any_of,
    constant,
    p,
    require,
    scalar,
)
from onnx2mvit.matcher.rule import elements
from onnx2mvit.reader.rules.attention import attend
from onnx2mvit.reader.rules.linear import linear, new_linear

TURN = (1, 0, 2)


def turns(perm: tuple[int, ...]) -> bool:
    """True if images go after the sequence, be it that of the last axis."""
    return perm in (TURN, (2, 0, 1))


def transposed(x: Value, perm: tuple[int, ...], m: Match, new: Builder) -> Value:
    """A tensor with its axes in another order, which may be there already."""
    for node in m.graph.consumers(x):
        if node.op == "Transpose" and node.attrs.get("perm") == perm:
            return node.output
    made: Value = new.Transpose(x, perm=perm)
    return made


def sequence_first(x: Value, graph: Graph) -> bool:
    """True if it is an input of the network, with the sequence before the images."""
    return graph.batch_axes.get(x) == 1 and len(x.shape or ()) == 3


class TurnAfterTokens(Rule):
    """What treats each token alike does not mind which axis the images are.

    f(Transpose(x, perm=(1, 0, 2))) → Transpose(f(x), perm=(1, 0, 2))
    where f is a normalization or linear layer, an activation, or a sum with what is turned as well
    """

    needed_by = "torch's nn.MultiheadAttention and transformers that have the sequence first"
    forward = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        turned, other = (op.Transpose(of, perm=turns) for of in (x, Var("other")))
        return any_of(
            op.LayerNormalization(turned, constant("gamma", rank=1), constant("beta", rank=1)),
            op.MatMul(turned, constant("kernel", rank=2)),
            *(getattr(op, name)(turned) for name in ("Relu", "Gelu", "Sigmoid", "Tanh")),
            *(getattr(op, name)(turned, other) for name in ("Add", "Mul")),
            *(getattr(op, name)(turned, constant("constant")) for name in ("Add", "Mul")),
        )

    def rewrite(self, m: Match, new: Builder) -> Value:
        axis = m.root.attrs.get("axis", -1)
        require(axis in (-1, 2), "it normalizes over several axes")
        # A scale is handed on the other way.
        require(m.constant is None or m.constant.const.size > 1, "it is a scale")
        inputs = [self.turned_back(value, m, new) for value in m.root.inputs]
        tokens, images, *_ = m.root.output.shape or ()
        shape = (images, tokens, *(m.root.output.shape or ())[2:])
        made: Value = getattr(new, m.root.op)(*inputs, shape=shape, **m.root.attrs)
        return new.Transpose(made, perm=TURN)

    def turned_back(self, value: Value | None, m: Match, new: Builder) -> Value | None:
        """An operand with the images first."""
        if value is None:
            return None
        if sequence_first(value, m.graph):
            return transposed(value, TURN, m, new)
        if value.const is None:
            turn = m.graph.producer(value)
            require(turn is not None and turn.op == "Transpose", "one of them alone is turned")
            assert turn is not None and turn.inputs[0] is not None
            require(not sequence_first(turn.inputs[0], m.graph), "it is an input that was turned")
            if turn.attrs["perm"] == TURN:
                return turn.inputs[0]
            return transposed(turn.inputs[0], (0, 2, 1), m, new)
        if value.const.ndim < 3 or m.constant is None:
            return value
        require(value.const.ndim == 3, "a constant has more axes")
        return new.constant(value.const.transpose(TURN), "turned")


class TurnAtInput(TurnAfterTokens):
    """An input that has the sequence first is turned, and what treats each token alike turned back.

    f(x) → Transpose(f(Transpose(x, perm=(1, 0, 2))), perm=(1, 0, 2))
    where f is a normalization or linear layer, or a sum with a constant or with what is turned
    """

    needed_by = "torch's nn.TransformerEncoder, whose input has the sequence first unless told"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return any_of(
            op.LayerNormalization(x, constant("gamma", rank=1), constant("beta", rank=1)),
            op.MatMul(x, constant("kernel", rank=2)),
            op.Add(x, constant("constant")),
            op.Add(x, op.Transpose(Var("other"), perm=turns)),
        )

    def concerns(self, graph: Graph) -> bool:
        return any(sequence_first(value, graph) for value in graph.inputs)

    def rewrite(self, m: Match, new: Builder) -> Value:
        require(sequence_first(m.x, m.graph), "it is of no input that has the sequence first")
        return super().rewrite(m, new)


class FlatLinear(Rule):
    """A linear layer on a matrix of all tokens is one on the tokens of each image.

    Reshape(Add(MatMul(Reshape(x, [B·N, C]), w), b), [B, N, C']) → Add(MatMul(Reshape(x), w), b)
    """

    needed_by = "torch's nn.MultiheadAttention"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Reshape(linear(op, op.Reshape(x, role="flat")))

    def rewrite(self, m: Match, new: Builder) -> Value:
        channels, units = m.kernel.const.shape
        *leading, last = m.root.output.shape or (0,)
        require(len(m.shape("flat")) == 2 and last == units, "the channels are divided")
        bias = None if m.bias is None else m.bias.const
        apart = new.Reshape(m.x, shape=(*leading, channels))
        return new_linear(new, apart, m.kernel.const, bias)


class TokensOfHeads(Rule):
    """Heads are put together with the images first, and the sequence is brought before them.

    Reshape(Transpose(x, perm=(2, 0, 1, 3)), [N, B, C])
    → Transpose(Reshape(Transpose(x, perm=(0, 2, 1, 3)), [B, N, C]), perm=(1, 0, 2))
    """

    needed_by = "torch's nn.MultiheadAttention"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Rearrange("b h t k -> t b (h k)", x, role="y")

    def rewrite(self, m: Match, new: Builder) -> Value:
        images, heads, tokens, width = m.shape("x", 4)
        require(m.shape("y", 3)[:2] == (tokens, images), "the images are first")
        joined = new.Transpose(m.x, perm=(0, 2, 1, 3))
        joined = new.Reshape(joined, shape=(images, tokens, heads * width))
        return new.like_root(joined, op="Transpose", perm=TURN)


class SelectBeforeReshape(Rule):
    """What is selected of moved axes is reshaped by itself, if the Reshape leaves that axis alone.

    Select(Reshape(x), axis=a, index=i), x = Transpose(…) → Reshape(Select(x, axis=a', index=i))
    """

    needed_by = "torch's nn.MultiheadAttention, whose query, key and value are one linear layer"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Select(op.Reshape(op.Transpose(x, role="moved"), role="reshaped"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        before, after = m.moved.output.shape or (), m.reshaped.output.shape or ()
        axis = m.root.attrs["axis"]
        own = (elements(after[:axis]), after[axis])
        places = [
            place
            for place, length in enumerate(before)
            if (elements(before[:place]), length) == own and length > 1
        ]
        require(bool(places), "the axis is made by the Reshape")
        rest = (*before[: places[0]], *before[places[0] + 1 :])
        selected = new.Select(m.moved.output, shape=rest, **{**m.root.attrs, "axis": places[0]})
        return new.like_root(selected, op="Reshape")


class HeadsOfEachImage(Rule):
    """The heads of all images in a row are those of each image.

    MatMul(Softmax(f(MatMul(q, k))), v) of rank 3, where v is heads: [B·h, N, d]
    → Reshape(MatMul(Softmax(f(MatMul(Reshape(q), Reshape(k)))), Reshape(v))) of rank 4
    and f scales the scores, masks them, or both
    """

    needed_by = "torch's nn.MultiheadAttention with `need_weights=True`"

    def onnx(self, op: Ops, x: Var) -> Expr:
        scores: Expr = op.MatMul(Var("query"), Var("key"))
        scores = any_of(op.Mul(scores, scalar("scale")), scores)
        scores = any_of(op.Add(scores, constant("mask")), scores)
        heads: dict[str, Any] = {"b": p.images, "h": p.heads}
        value = op.Rearrange("b t (h k) -> (b h) t k", x, role="value", **heads)
        return op.MatMul(op.Softmax(scores, axis=-1), value)

    def rewrite(self, m: Match, new: Builder) -> Value:
        heads = (m.images, m.heads)
        for role in ("query", "key"):
            require(m.shape(role, 3)[0] == m.images * m.heads, f"the {role} is not of heads")
        query, key, value = (
            new.Reshape(part, shape=(*heads, *(part.shape or ())[1:]))
            for part in (m.query, m.key, m.value.output)
        )
        mask = None
        if m.mask is not None:
            shared = m.mask.const.ndim < 3 or alike(m.mask.const)
            require(shared, "the mask is another for every head")
            mask = new.constant(m.mask.const.reshape(m.mask.const.shape[-2:]), "mask")
        return new.like_root(attend(new, query, key, value, m.scale, mask), op="Reshape")
